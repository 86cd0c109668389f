# Mode ports: the services of a range of ports, compared with the system's own
# database.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use List::Util qw(first sum);
use Test::More;

# Runs ports. Returns one string for comparison: the exit status, the number of
# lines on stderr, and the list with single blanks.
sub ports {
	my %how = ref $_[0] ? %{ +shift } : ();
	my $run = run_echo({ deadline => $DEADLINE, %how }, 'ports', @_);
	return join "\n", "exit status $run->{status}",
	    'lines on stderr: ' . ($run->{err} =~ tr/\n//),
	    split(/\n/, single_blanks($run->{out}));
}

sub single_blanks { $_[0] =~ s/ +/ /gr }

# The string that ports() must return for a list of entries.
sub expected {
	my @list = map { join ' ', "$_->{port}/$_->{proto}", @{ $_->{names} } }
	    @_;
	return join "\n", @list ? ('exit status 0', 'lines on stderr: 0') :
	    ('exit status 1', 'lines on stderr: 1'), @list;
}

# Asserts that a run failed: its exit status, nothing on stdout, and one
# printable line on stderr that matches.
sub fails {
	my ($run, $status, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest $name => sub {
		is $run->{status}, $status, 'exit status';
		is $run->{out}, '', 'stdout is empty';
		like $run->{err}, qr/\Aecho ports: [\x20-\x7e]{1,280}\n\z/,
		    'stderr has one printable line';
		like $run->{err}, $pattern, 'which gives the reason';
	};
}

# The whole database, sorted by port. Perl's sort is stable.
my @database;
while (my ($name, $aliases, $port, $proto) = getservent) {
	push @database, { port => $port, proto => $proto,
	    names => [$name, split ' ', $aliases] };
}
endservent;
@database = sort {
	$a->{port} <=> $b->{port} || $a->{proto} cmp $b->{proto}
} @database;

sub entries {
	my ($low, $high, $proto) = @_;
	return grep {
		$_->{port} >= $low && $_->{port} <= $high &&
		    (!$proto || $_->{proto} eq $proto)
	} @database;
}

SKIP: {
	skip 'this system has no services database', 4 unless @database;

	my %assigned = map { $_->{port} => 1 } @database;
	my $some = first { $_->{proto} eq 'tcp' } @database;
	my $one = $some->{port};
	my $none = first { !$assigned{$_} } 1 .. 65535;

	# LOW, HIGH and protocol, and the arguments that ask for them.
	subtest 'ranges' => sub {
		for (
			[1, 1023, ''],
			[1, 1023, 'tcp', '--tcp'],
			[1, 1023, 'udp', '--udp'],
			[$one, $one, '', $one],
			[$one, $one, '', $one, $one],
			[$one, $one, 'tcp', $one, '--tcp'],
			[$none, $none, '', $none],
			[0, 0, '', 0],
			[0, 0, '', '0-0'],
			[20, 25, '', 20, 25],
			[20, 25, '', '20-25'],
			[20, 25, '', '--', '20-25'],
			[20, 25, 'udp', '20-25', '--udp'],
			[20, 25, 'tcp', '--tcp', 20, 25],
			[65535, 65535, '', 65535],
			[1024, 65535, '', '1024-65535'],
			[0, 65535, '', 0, 65535],
			[0, 65535, '', '0-65535'],
			[0, 65535, 'tcp', 0, 65535, '--tcp'],
			[0, 65535, 'udp', 0, 65535, '--udp']
		) {
			my ($low, $high, $proto, @args) = @$_;
			is ports(@args), expected(entries($low, $high, $proto)),
			    "ports @args";
		}
		fails(run_echo('ports', $none), 1, qr/\b$none\b/,
		    "ports $none: no service");
		like run_echo('ports', $one)->{out},
		    qr/^$one\/tcp  +$some->{names}[0]\b/m,
		    'at least two blanks separate the columns';
	};

	# Each call of getservbyport(3) reads the whole database, so it looks up
	# the ports in the database and every 16th of the others.
	subtest 'the first name of each port is that of getservbyport' => sub {
		my (%looked_up, %listed);
		my %ports = map { $_ => 1 } map({ $_->{port} } @database),
		    map { 16 * $_ } 0 .. 4095;
		for my $port (keys %ports) {
			for my $proto ('tcp', 'udp') {
				my $name = getservbyport $port, $proto;
				$looked_up{"$port/$proto"} = $name
				    if defined $name;
			}
		}
		for (split /\n/, run_echo('ports', '0-65535')->{out}) {
			$listed{$1} //= $2 if /^(\d+\/(?:tcp|udp)) +(\S+)/;
		}
		is_deeply \%listed, \%looked_up, 'all names';
	};

	# The test measures processor time, which other processes do not use up.
	subtest 'all ports are listed in one pass' => sub {
		my $used = sub {
			my (undef, undef, @children) = times;
			return sum @children;
		};
		my $before = $used->();
		run_echo('ports', '0-65535') for 1 .. 5;
		cmp_ok(($used->() - $before) / 5, '<', 0.1,
		    'processor seconds');
	};

	subtest 'a list that cannot be written' => sub {
		pipe my $reader, my $broken or die $!;
		close $reader;
		my @closed = ('sh', '-c', 'exec "$@" >&-', 'sh');
		my %unwritable = (
			'/dev/full' => { out => '/dev/full' },
			'&-' => { wrap => \@closed },
			'a broken pipe' => { out => $broken }
		);
		for my $to (sort keys %unwritable) {
			fails(run_echo($unwritable{$to}, 'ports', @$_), 7,
			    qr/output/, "ports @$_ >$to")
			    for [], [$one], [0, 65535];
		}
	};
}

my $huge = '9' x 100_000;
subtest 'ranges that are refused' => sub {
	for (
		[qr/-1\b/, '-1'],
		[qr/-1\b/, '-1', '5'],
		[qr/LOW.*"-1".* 0 .*65535/, '--', '-1'],
		[qr/LOW.*"-1".* 0 .*65535/, '--', '-1', '5'],
		[qr/LOW.*"65536".* 0 .*65535/, '65536'],
		[qr/LOW.*"65536".* 0 .*65535/, '65536-65537'],
		[qr/LOW.*"65536".* 0 .*65535/, '65536', '65537'],
		[qr/HIGH.*"65536".* 0 .*65535/, '0', '65536'],
		[qr/HIGH.*"65536".* 0 .*65535/, '0-65536'],
		[qr/HIGH.*"99999"/, '--tcp', '0-99999'],
		[qr/LOW.*25.*HIGH.*20/, '25', '20'],
		[qr/LOW.*25.*HIGH.*20/, '25-20'],
		[qr/LOW.*65535.*HIGH.*0/, '65535-0'],
		[qr/LOW.*"ssh"/, 'ssh'],
		[qr/LOW.*"x"/, 'x', '5'],
		[qr/HIGH.*"x"/, '5', 'x'],
		[qr/HIGH.*"x"/, '5-x'],
		[qr/LOW.*""/, ''],
		[qr/LOW.*""/, '', '5'],
		[qr/HIGH.*""/, '5', ''],
		[qr/HIGH.*""/, '5-'],
		[qr/LOW.*"-"/, '--', '-'],
		[qr/HIGH.*"2-3"/, '1-2-3'],
		[qr/range/, '1', '2', '3'],
		[qr/1-2/, '1-2', '3'],
		[qr/2-3/, '1', '2-3'],
		[qr/LOW.*1\\x1b/, "1\e[31m\n"],
		[qr/LOW.*"9999/, $huge],
		[qr/HIGH.*"9999/, "0-$huge"],
		map { ([qr/LOW.*"\Q$_\E"/, $_], [qr/HIGH.*"\Q$_\E"/, 0, $_]) }
		    '+1', ' 7', '7 ', '7x', '0x10', '1e9',
		    '18446744073709551616'
	) {
		my ($pattern, @args) = @$_;
		my $run = run_echo({ deadline => $DEADLINE }, 'ports', @args);
		my $shown = show("@args", 30) =~ s/^\d+ bytes: //r =~
		    s/\n/\\n/gr;
		fails($run, 2, $pattern, "ports $shown");
	}
};

# Other databases: a namespace of its own has an empty /etc, to which the files
# of a folder are copied.
my $etc = 'mount -t tmpfs none /etc && cp "$0"/* /etc && exec "$@"';
my $tmp = File::Temp->newdir;

sub write_file {
	my ($path, $text) = @_;
	open my $f, '>', $path or die "$path: $!";
	print $f $text;
	close $f or die "$path: $!";
}

write_file("$tmp/nsswitch.conf", "services: files\n");
my $private = first {
	run_echo({ wrap => [@$_, "$tmp"], command => 'true' })->{status} == 0
} map { ['unshare', $_, 'sh', '-c', $etc] } '-rm', '-m';

# Lists all services of a system whose /etc/services has that text; undef: no
# file. The built-in reader is used if the C library has no database; with
# glibc, this is the case if nsswitch.conf(5) names none.
sub with_database {
	my ($reader, $text) = @_;
	write_file("$tmp/nsswitch.conf", 'services: ' .
	    ($reader eq 'built-in' ? 'none' : 'files') . "\n");
	if (defined $text) {
		write_file("$tmp/services", $text);
	} else {
		unlink "$tmp/services";
	}
	return run_echo({ wrap => [@$private, "$tmp"],
	    deadline => $DEADLINE }, 'ports', '0-65535');
}

# The list that is compiled in, from its source.
sub compiled_in {
	my @lines = map { [m{^(\d+)/(\w+)}, $_] }
	    map { s/^(\S+) (\S+)/$2 $1/r }
	    slurp(in_tree('modes/services.h')) =~ /^\t"(.*)\\0"$/mg;
	return join '', map { "$_->[2]\n" }
	    sort { $a->[0] <=> $b->[0] || $a->[1] cmp $b->[1] } @lines;
}

SKIP: {
	skip 'no permission to mount an /etc', 4 unless $private;

	subtest 'no database' => sub {
		my $none = with_database('libc', undef);
		is $none->{status}, 0, 'exit status';
		like $none->{err}, qr{\Aecho\ ports:\ /etc/services:\ No\ such\ file
		    [^\n]*listing\ \S+[^\n]*\d{4}-\d\d-\d\d[^\n]*package[^\n]*\n\z}x,
		    'stderr names the missing file, and the date of the list';
		is single_blanks($none->{out}), compiled_in(),
		    'the list is modes/services.h, sorted';
	};

	for my $reader ('libc', 'built-in') {
		subtest "the $reader reader" => sub {
			fails(with_database($reader, $_), 1, qr/no service/,
			    'a database without entries')
			    for '', "# ssh 22/tcp\n\n";

			my $run = with_database($reader,
			    <<~'END' . 'unfinished 300/tcp');
				second	200/udp
				first	200/tcp		une uno	# not an alias

				# comment 201/tcp
				twice 100/tcp
				again 100/tcp alias
				stream 200/sctp
				zero 0/udp
				highest 65535/tcp
				END
			is single_blanks($run->{out}), <<~'END',
				0/udp zero
				100/tcp twice
				100/tcp again alias
				200/sctp stream
				200/tcp first une uno
				200/udp second
				300/tcp unfinished
				65535/tcp highest
				END
			    'sorted; a port that is assigned twice keeps ' .
			    'the order of the file';

			my @full = map { ("$_/tcp port-$_ alias",
			    "$_/udp port-$_ alias") } 0 .. 65535;
			$run = with_database($reader, join '', map {
				s/(\S+) (\S+)/$2 $1/r . "\n"
			} reverse @full);
			is_bytes(single_blanks($run->{out}),
			    join('', map { "$_\n" } @full),
			    'a database in which every port is assigned');
		};
	}

	# glibc reads 65558 as 22 and -5 as 65531.
	subtest 'the built-in reader ignores lines without a valid port' =>
	    sub {
		my $run = with_database('built-in', <<~'END');
			too-high 65558/tcp
			too-long 99999999999999999999999/tcp
			negative -5/tcp
			positive +5/tcp
			letter 32x/tcp
			blank / tcp
			no-port /tcp
			no-protocol 33/
			no-slash 34
			only-a-name
			valid 00022/tcp
			END
		is $run->{out}, "22/tcp  valid\n", 'only the valid line';
		is $run->{err}, '', 'nothing on stderr';
	};
}

done_testing;
