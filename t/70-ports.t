# The services of a range of ports, as the system's own look-ups know them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use List::Util qw(first sum);
use Test::More;

# Runs ports: its exit status, how many lines it said on stderr, and its list
# with single blanks.
sub ports {
	my %how = ref $_[0] ? %{ +shift } : ();
	my $run = run_echo({ deadline => $DEADLINE, %how }, 'ports', @_);
	return join "\n", "exit status $run->{status}",
	    'lines on stderr: ' . ($run->{err} =~ tr/\n//),
	    split(/\n/, $run->{out} =~ s/ +/ /gr);
}

# What it should be for a list of entries.
sub wanted {
	my @list = map { join ' ', "$_->{port}/$_->{proto}", @{ $_->{names} } }
	    @_;
	return join "\n", @list ? ('exit status 0', 'lines on stderr: 0') :
	    ('exit status 1', 'lines on stderr: 1'), @list;
}

# A failure: exit status, nothing on stdout, one line that matches.
sub fails {
	my ($run, $status, $what, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok $run->{status} == $status && $run->{out} eq '' &&
	    $run->{err} =~ /\Aecho ports: [^\n]{1,280}\n\z/ &&
	    $run->{err} =~ $what && $run->{err} !~ /[^\n\x20-\x7e]/, $name or
	    diag "exit status $run->{status}, signal $run->{signal}\n",
	    'stdout: ', show($run->{out}), "\n",
	    'stderr: ', show($run->{err}, 400), "\nwanted: $what";
}

# A look-up for every port and both protocols. It takes seconds, which four
# processes spend while the rest is tested.
my @lookups = map {
	my $first = $_;
	my $pid = open(my $from, '-|') // die "fork: $!";
	if ($pid == 0) {
		alarm 120;
		for (my $port = $first; $port < 65536; $port += 4) {
			for my $proto ('tcp', 'udp') {
				my $name = getservbyport $port, $proto;
				print "$port/$proto $name\n" if defined $name;
			}
		}
		exit 0;
	}
	$from;
} 0 .. 3;

# The whole database in the order of ports; perl's sort keeps that of equals.
my @database;
while (my ($name, $aliases, $port, $proto) = getservent) {
	push @database, { port => $port, proto => $proto,
	    names => [$name, split ' ', $aliases] };
}
endservent;
@database = sort {
	$a->{port} <=> $b->{port} || $a->{proto} cmp $b->{proto}
} @database;

sub between {
	my ($low, $high, $proto) = @_;
	return grep {
		$_->{port} >= $low && $_->{port} <= $high &&
		    (!$proto || $_->{proto} eq $proto)
	} @database;
}

SKIP: {
	skip 'no services database here', 1 unless @database;

	# Ranges: low, high and protocol, and the arguments that ask for it.
	my %assigned = map { $_->{port} => 1 } @database;
	my $some = first { $_->{proto} eq 'tcp' } @database;
	my $one = $some->{port};
	my $none = first { !$assigned{$_} } 1 .. 65535;
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
		is ports(@args), wanted(between($low, $high, $proto)),
		    "ports @args";
	}
	fails(run_echo('ports', $none), 1, qr/\b$none\b/,
	    "nothing at port $none: exit 1, and says so");
	like run_echo('ports', $one)->{out},
	    qr/^$one\/tcp  +$some->{names}[0]\b/m, 'two blanks or more between';

	# The first name of each port is the one that a look-up gives.
	my (%looked_up, %listed);
	for my $lookup (@lookups) {
		while (<$lookup>) {
			$looked_up{$1} = $2 if /^(\S+) (\S+)/;
		}
		ok close $lookup, 'looked up a quarter of all ports';
	}
	for (split /\n/, run_echo('ports', '0-65535')->{out}) {
		$listed{$1} //= $2 if /^(\d+\/(?:tcp|udp)) +(\S+)/;
	}
	is_deeply \%listed, \%looked_up, 'every port, as getservbyport has it';

	# By the processor's time, since others may be using it too.
	my $used = sub { my (undef, undef, @children) = times; sum @children };
	my $before = $used->();
	run_echo('ports', '0-65535') for 1 .. 5;
	cmp_ok(($used->() - $before) / 5, '<', 0.1, 'all ports in one pass');

	# A list that nobody can read is not a success.
	pipe my $reader, my $broken or die $!;
	close $reader;
	my @closed = ('sh', '-c', 'exec "$@" >&-', 'sh');
	my %unwritable = (
		'/dev/full' => { out => '/dev/full' },
		'&-' => { wrap => \@closed },
		'a broken pipe' => { out => $broken }
	);
	for my $to (sort keys %unwritable) {
		fails(run_echo($unwritable{$to}, 'ports', @$_), 7, qr/output/,
		    "ports @$_ >$to") for [], [$one], [0, 65535];
	}
}

# Wrong ranges: what is wrong is named.
my $huge = '9' x 100_000;
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
	[qr/range|unexpected/, '1', '2', '3'],
	[qr/1-2/, '1-2', '3'],
	[qr/2-3/, '1', '2-3'],
	[qr/LOW.*1\\x1b/, "1\e[31m\n"],
	[qr/LOW.*"9999/, $huge],
	[qr/HIGH.*"9999/, "0-$huge"],
	map { ([qr/LOW.*"\Q$_\E"/, $_], [qr/HIGH.*"\Q$_\E"/, 0, $_]) }
	    '+1', ' 7', '7 ', '7x', '0x10', '1e9', '18446744073709551616'
) {
	my ($what, @args) = @$_;
	my $run = run_echo({ deadline => $DEADLINE }, 'ports', @args);
	my $shown = show("@args", 30) =~ s/^\d+ bytes: //r =~ s/\n/\\n/gr;
	fails($run, 2, $what, "ports $shown: refused");
}

# Databases of our own, or none: in a namespace with an empty /etc.
my $etc = 'mount -t tmpfs none /etc && { test -z "$0" || ' .
    'cp "$0" /etc/services; } && exec "$@"';
my $private = first {
	run_echo({ wrap => [@$_, ''], command => 'true' })->{status} == 0
} map { ['unshare', $_, 'sh', '-c', $etc] } '-rm', '-m';

sub with_database {
	my ($text) = @_;
	my $tmp = File::Temp->new;
	print $tmp $text // '';
	close $tmp or die $!;
	return run_echo({ wrap => [@$private, defined $text ? "$tmp" : ''],
	    deadline => $DEADLINE }, 'ports', '0-65535');
}

# The list compiled in, from its source.
sub compiled_in {
	my @lines = map { [m{^(\d+)/(\w+)}, $_] }
	    map { s/^(\S+) (\S+)/$2 $1/r }
	    slurp(in_tree('modes/services.h')) =~ /^\t"(.*)\\0"$/mg;
	return join '', map { "$_->[2]\n" }
	    sort { $a->[0] <=> $b->[0] || $a->[1] cmp $b->[1] } @lines;
}

SKIP: {
	skip 'cannot mount an /etc of our own', 7 unless $private;
	my $none = with_database(undef);
	is $none->{status}, 0, 'no database: there is a list of our own';
	like $none->{err}, qr{\Aecho\ ports:\ /etc/services:\ No\ such\ file
	    [^\n]*listing\ \S+[^\n]*\d{4}-\d\d-\d\d[^\n]*package[^\n]*\n\z}x,
	    'which says what is lacking, and of what date it is';
	is $none->{out} =~ s/ +/ /gr, compiled_in(),
	    'all that modes/services.h has, in order';
	fails(with_database($_), 1, qr/./, 'a database of nothing')
	    for '', "# ssh 22/tcp\n\n";

	# Sorted; what is assigned twice stays in the order of the database.
	my $text = with_database(<<~'END' . 'unfinished 300/tcp')->{out};
		second	200/udp
		first	200/tcp		une uno	# not an alias

		# nobody 201/tcp
		twice 100/tcp
		again 100/tcp alias
		stream 200/sctp
		zero 0/udp
		highest 65535/tcp
		END
	is $text =~ s/ +/ /gr, <<~'END', 'in order, with aliases';
		0/udp zero
		100/tcp twice
		100/tcp again alias
		200/sctp stream
		200/tcp first une uno
		200/udp second
		300/tcp unfinished
		65535/tcp highest
		END

	my @full = map { ("$_/tcp port-$_ alias", "$_/udp port-$_ alias") }
	    0 .. 65535;
	$text = with_database(join '', map { s/(\S+) (\S+)/$2 $1/r . "\n" }
	    reverse @full)->{out};
	ok $text =~ s/ +/ /gr eq join('', map { "$_\n" } @full),
	    'a database in which every port is assigned';
}

done_testing;
