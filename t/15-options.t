# Options and addresses: a wrong value is refused at once, with one line that
# names the option, the value and the reason; a correct value has the effect
# that the manual describes; the defaults agree with a table in this file.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use IO::Select;
use IO::Socket::IP;
use List::Util qw(first shuffle);
use Socket qw(SOCK_STREAM);
use Test::More;
use Time::HiRes qw(time);

# Every option that takes a value: the kind of the value, the default in --help,
# and wrong values in addition to the wrong values of that kind. A new option
# has to be added here.
my $host = '127.0.0.1';
my @not_for_clients = (':0', '127.0.0.1:0', '*');
my %options = (
	bench => {
		address => ['address', $host, @not_for_clients],
		port => ['port', '10000', '0'],
		timeout => ['duration', '5s'],
		connections => ['number', '1', '0'],
		size => ['size', '64, --stream 64k', '0', '2G'],
		window => ['number', '1', '0'],
		duration => ['duration', '2s', '0'],
		idle => ['number', '0'],
		limit => ['duration', '1ms', '0'],
		rate => ['number', '', '0'],
		rounds => ['number', '5; 1 for a single server', '0'],
		pid => ['number', '', '0'],
		late => ['duration', '200ms', '0']
	},
	check => {
		address => ['address', $host, @not_for_clients],
		port => ['port', '10000', '0'],
		timeout => ['duration', '5s', '0'],
		profile => ['name', 'rfc862', 'rfc', 'Robust',
		    'homework,rfc862'],
		client => ['command', ''],
		only => ['name', '', 'line,', 'line,,text'],
		skip => ['name', '', 'line,nosuch', ' line'],
		start => ['command', ''],
		direct => ['address', '', @not_for_clients]
	},
	serve => {
		address => ['address', $host],
		port => ['port', '10000'],
		gap => ['duration', '500ms'],
		idle => ['duration', '60s, --blocking 10s'],
		drain => ['duration', '5s'],
		workers => ['number', '1', '0', '257'],
		spin => ['duration', '0'],
		user => ['name', ''],
		log => ['name', 'text', 'JSON', 'xml'],
		'socket-mode' => ['mode', '600'],
		ttl => ['number', '', '0', '256'],
		'reply-rate' => ['number', '', '0', '1000001'],
		chunk => ['size', '64k, --blocking 16', '0'],
		'max-clients' => ['number', '', '0'],
		count => ['number', '', '0']
	},
	send => {
		address => ['address', $host, @not_for_clients],
		port => ['port', '10000', '0'],
		timeout => ['duration', '5s'],
		size => ['size', '1400', '0', '65528', '64k'],
		retries => ['number', '0', '2147483648'],
		'proxy-protocol' => ['name', '', 'v3', 'V1', '1', 'v10']
	},
	ports => {},
	faulty => {
		address => ['address', '127.0.0.1'],
		port => ['port', '10000'],
		every => ['number', '1', '0'],
		seed => ['number', ''],
		count => ['number', '', '0']
	}
);

# Options that keep a run away from port 10000 if a wrong value is accepted.
my %harmless = (serve => ['--port=0'], send => ['--port=1'],
    check => ['--port=1'], bench => ['--port=1'],
    faulty => ['mute', '--port=0']);

my $huge = '9' x 100_000;
my @no_number = ('', '-1', '+1', ' 7', '7 ', '7x', '0x10', '1e9', "7\n",
    '18446744073709551616', $huge, "7\e[31m\r\a", "7\x9b31m",
    "7\xc2\x9b31m");
# The last values of durations and sizes are just above 2^64 units.
my %bad = (
	number => [@no_number, '1k', '9223372036854775808'],
	port => [@no_number, '65536', '65537', '99999', '4294967297',
	    'no-such-service'],
	mode => [@no_number, '8', '1000', '0777777777777777777777777', 'rw-'],
	duration => [@no_number, 'ms', '2 s', '2ss', '2S', '2x',
	    '307445734561826m', '18446744073709552s'],
	size => [@no_number, 'k', '16 k', '16kk', '16kB', '16x',
	    '18014398509481985k', '17592186044417M'],
	address => ['', '10007', '10007:7', '[::1', '[::1]x', '[]', '[]:7',
	    '[zz]:7', '[::1]:', '[::1]:7x', '::1:7', '::1', 'a:b:c', ':',
	    'host:', '127.0.0.1:70000', ':99999', ':-1', ':+7', ': 7', ':7x',
	    ':0x10', ":$huge", "[$huge", 'x' x 100_000, "[\e[31m]",
	    ":7\e[31m\n", 'unix:', 'unix:name', 'unix:rel.sock', 'unix:./a',
	    'udp:unix:/x', 'tcp:unix:@x', 'udp:', 'udp:7', 'tcp:[::1',
	    'unix:@', 'unix:/' . 'x' x 107, 'unix:@' . 'x' x 107],
	name => ['', 'nosuch', '-1', "line\e[31m", $huge],
	command => ['']
);
my %good = (
	number => [1, 7],
	duration => [qw(200ms 2s 1m 3)],
	size => [qw(16 64k 1M)]
);

# The differences between a run and a refused command line: exit status, one
# line on stderr that begins with the name of the program, is printable and short
# and matches each pattern, nothing on stdout, and no wait.
sub faults {
	my ($run, $status, $program, @patterns) = @_;
	my $err = $run->{err};
	my @faults;
	push @faults, "exit status $run->{status}, signal $run->{signal}"
	    unless $run->{status} == $status;
	push @faults, 'stdout is not empty' unless $run->{out} eq '';
	push @faults, 'stderr is not one line' unless $err =~ /\A[^\n]+\n\z/;
	push @faults, "stderr does not begin with $program"
	    if index $err, "$program: ";
	push @faults, map { "stderr does not match $_" }
	    grep { $err !~ $_ } @patterns;
	push @faults, 'stderr has ' . length($err) . ' bytes'
	    if length $err >= 300;
	push @faults, 'stderr is not printable' if $err =~ /[^\n\x20-\x7e]/;
	push @faults, "it took $run->{time} s" if $run->{time} > $DEADLINE / 2;
	return join "\n", @faults;
}

sub fails {
	my ($run, $status, $program, $patterns, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is faults($run, $status, $program, @$patterns), '', $name;
}

# A word of a command line for the name of a test.
sub brief { show($_[0], 30) =~ s/^\d+ bytes: //r =~ s/\n/\\n/gr }

sub refused {
	my ($mode, $args, $patterns) = @_;
	my $name = join ' ', "echo $mode", map { brief($_) } @$args;
	my $run = run_echo({ deadline => $DEADLINE }, $mode,
	    @{ $harmless{$mode} // [] }, @$args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return fails($run, 2, "echo $mode", $patterns, "$name: refused");
}

# The options in --help: { name => { short, value, text } }.
sub options_of {
	my ($mode) = @_;
	my ($name, %found);
	for (split /\n/, run_echo($mode, '--help')->{out}) {
		if (/^ {2,6}(?:-(\w), )?--([\w-]+)(=\S+)?(?: +(.*)|$)/) {
			$name = $2;
			$found{$name} = { short => $1, value => defined $3,
			    text => $4 // '' };
		} elsif (defined $name && /^ {20,}(\S.*)/) {
			$found{$name}{text} .= " $1";
		} else {
			undef $name;
		}
	}
	return \%found;
}

# The texts after "default" in parentheses.
sub defaults_of {
	my ($option) = @_;
	return join ' | ', $option->{text} =~ /\(default ?([^)]*)\)/g;
}

delete $options{bench}{pid} unless system_has('process_figures');
my %link = modes();
my @modes = sort keys %link;
my %help = map { $_ => options_of($_) } @modes;

# The table has the options and defaults of --help. --help prints the values
# that the program uses (modes/lib/options.h).
for my $mode (@modes) {
	my $help = $help{$mode};
	subtest "echo $mode: the table in this file agrees with --help" => sub {
		is_deeply [sort keys %{ $options{$mode} }],
		    [sort grep { $help->{$_}{value} } keys %$help],
		    'options with a value';
		is defaults_of($help->{$_}), $options{$mode}{$_}[1],
		    "default of --$_" for sort keys %{ $options{$mode} };
	};
}

# Refused values.
for my $mode (@modes) {
	my $help = $help{$mode};
	for my $name (sort keys %{ $options{$mode} }) {
		my ($kind, undef, @more) = @{ $options{$mode}{$name} };
		my $short = $help->{$name}{short};
		my $option = qr/(?<!\w)--$name\b/;
		subtest "echo $mode --$name" => sub {
			refused($mode, ["--$name"], [$option]);
			refused($mode, ["-$short"],
			    [qr/$option|(?<!\w)-$short\b/]) if $short;
			for my $value (@{ $bad{$kind} }, @more) {
				my @patterns = $option;
				# The value, if it can be printed, and the
				# range.
				push @patterns,
				    $value =~ /^[\x20-\x7e]{0,64}\z/ ?
				    qr/"\Q$value\E"/ : (), qr/ \d+\S* to \d+/
				    unless $kind =~ /address|name|command/;
				refused($mode, ["--$name=$value"],
				    \@patterns);
				refused($mode, ["-$short", $value],
				    \@patterns) if $short;
			}
		};
	}
	subtest "echo $mode: a value for an option that has none" => sub {
		refused($mode, ["--$_=3"], [qr/--$_\b/])
		    for grep { !$help->{$_}{value} } sort keys %$help;
	};
}

# These messages tell the user what to write instead.
for my $mode ('serve', 'send', 'check', 'bench') {
	subtest "echo $mode: the form of an address" => sub {
		refused($mode, ['--address=::1:7'], [qr/\[\S+\]:PORT/]);
		refused($mode, ["--address=unix:$_"],
		    [qr/"unix:\Q$_\E": .*must be absolute: unix:\/PATH/])
		    for '', 'rel.sock', './a', '7', 'a:7';
		refused($mode, ['--address=unix:@'], [qr/no name.*unix:\@NAME/]);
		refused($mode, ['--address=unix:/' . 'x' x 107], [qr/\b107\b/]);
		refused($mode, ["--address=$_"], [qr/is a number.*:PORT/])
		    for 'tcp:7', 'udp:7';
		refused($mode, ["--address=$_"], [qr/HOST.*tcp: or udp:/])
		    for '', 'tcp:', 'udp:';
		refused($mode, ["--address=$_:unix:/x"],
		    [qr/"$_:unix:\/x": a Unix socket/]) for 'tcp', 'udp';
	};
}

subtest 'unknown options and unexpected operands' => sub {
	for my $mode (@modes) {
		refused($mode, ['--bogus'], [qr/--bogus\b/]);
		refused($mode, ['--bogus=3'], [qr/--bogus\b/]);
		refused($mode, ['-y'], [qr/-y\b/]);
		refused($mode, ["--\e[31m\n"], [qr/--/]);
		refused($mode, ["-\e[31m\n"], [qr/-\\x1b/]);
		refused($mode, ["--$huge"], [qr/--9999/]);
	}
	# The message names the wrong letter, not the option before it.
	refused($_, ['--quiet', '-vy', '--verbose'],
	    [qr/-y\b/, qr/^(?!.*quiet)/]) for 'serve', 'send';
	refused('ports', ['--tcp', '-y'], [qr/-y\b/, qr/^(?!.*tcp)/]);
	refused('send', ['--ver'], [qr/--ver\b/]);
	refused('serve', @$_) for
	    [['foo'], [qr/"foo"/]],
	    [['--', '--quiet'], [qr/"--quiet"/]],
	    [['-'], [qr/"-"/]],
	    [[''], [qr/""/]],
	    [["a\e[31m\nb"], [qr/a\\x1b/]],
	    [[$huge], [qr/"999/]];
};

my @engines = grep { !/ / } engines();
subtest 'options that exclude each other, in both orders' => sub {
	my @excluding = (
		['serve', '--message', '--stream'],
		['bench', '--stream', '--connect'],
		['ports', '--tcp', '--udp']
	);
	for my $i (0 .. $#engines) {
		push @excluding, map { ['serve', $engines[$i], $_] }
		    @engines[$i + 1 .. $#engines];
	}
	for (@excluding) {
		my ($mode, $one, $other) = @$_;
		my @both = (qr/$one\b/, qr/$other\b/);
		refused($mode, [$one, $other], \@both);
		refused($mode, [$other, $one], \@both);
	}
};

subtest 'a link names itself in error messages' => sub {
	for my $mode (@modes) {
		fails(run_echo({ program => $link{$mode} }, '--bogus'), 2,
		    $link{$mode}, [qr/$link{$mode} --help/],
		    "$link{$mode} --bogus");
	}
	fails(run_echo({ program => 'echo_server', deadline => $DEADLINE },
	    '--port=7x'), 2, 'echo_server', [qr/--port/],
	    'echo_server --port=7x');
};

# Correct values.
sub answers {
	my ($address, @options) = @_;
	my $run = run_echo('send', @options, '-a', $address, 'hello');
	return "$run->{status} $run->{out}";
}
my $answer = "0 hello\n";

for my $name (sort keys %{ $options{serve} }) {
	my ($kind) = @{ $options{serve}{$name} };
	my @values = (@{ $good{$kind} // [] }, $name eq 'idle' ? 0 : ());
	subtest "echo serve --$name: correct values" => sub {
		for my $value (@values) {
			my $server = start_server("--$name=$value");
			is answers($server->address), $answer,
			    "--$name=$value";
			# With --count=1 the server stops after one client.
			$server->stop("$name=$value" eq 'count=1' ? undef :
			    'TERM');
		}
	} if @values;
}
subtest 'echo send --timeout: correct values' => sub {
	my $server = start_server();
	is answers($server->address, "--timeout=$_"), $answer, "--timeout=$_"
	    for @{ $good{duration} };
	$server->stop;
};

sub listener {
	return IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0,
	    Type => SOCK_STREAM, Listen => 16, @_);
}

# The upper limits leave room for a busy machine.
subtest 'the effect of some defaults' => sub {
	my $server = start_server('--message');
	my $sock = dial($server);
	my $start = time;
	is exchange($sock, 'hello', undef), 'hello',
	    '--message: the server closes the connection';
	is_between(time - $start, 0.5, 5, 'after the default of --gap');
	$server->stop;

	$server = start_server('--select');
	$sock = dial($server);
	ok $server->wait_log(qr/connected/), 'a client is connected';
	$server->signal('TERM');
	ok $server->wait_log(qr/stopping: .* for at most 5\.0 s/),
	    'the log has the default of --drain';
	close $sock;
	$server->stop(undef);

	for (['--blocking', 16], map { [$_, 65536] }
	    grep { !/workers/ } parallel_engines()) {
		my ($engine, $chunk) = @$_;
		$server = start_server($engine, '-v');
		exchange(dial($server), 'x' x 200_000, 200_000);
		my ($largest) = sort { $b <=> $a }
		    $server->log =~ / read (\d+) bytes? /g;
		is $largest, $chunk, "$engine: the default of --chunk";
		$server->stop;
	}
};

# In a network of its own, because port 10000 may be in use. The alarm survives
# exec, so that no server remains.
subtest 'the default address and port' => sub {
	my @alone = ('unshare', '-rn', 'sh', '-c', <<~'END');
		ip link set lo up || exit 9
		"$1" -e 'alarm shift; exec @ARGV' "$2" "$0" serve -q &
		until "$0" send hello 2>/dev/null; do
			test $? = 4 || break
		done
		kill $!
		wait
		END
	my $run = run_command(@alone, program(), $^X, $DEADLINE);
	plan skip_all => 'no permission for a network of its own'
	    if $run->{status} == 9 || $run->{status} == 127 ||
		$run->{err} =~ /^unshare: /;
	is_deeply [sort split /\n/, $run->{out}],
	    ['hello', 'listening on 127.0.0.1:10000'], 'serve and send';
};

subtest 'the effect of --timeout' => sub {
	my $silent = listener() or die "listen: $@";
	my $address = '127.0.0.1:' . $silent->sockport;
	for (['200ms', 0.2], ['1', 1], ['1s', 1]) {
		my ($value, $seconds) = @$_;
		my $run = run_echo({ deadline => $DEADLINE }, 'send',
		    "--timeout=$value", '-a', $address, 'hello');
		is $run->{status}, 5, "--timeout=$value: exit status";
		is_between($run->{time}, $seconds, $seconds + 5,
		    "--timeout=$value: time");
	}
};

# Correct addresses of a server, and the hosts of its listening lines in order.
my $v6 = listener(LocalHost => '::1');
my $local = qr/^127\.0\.0\.1$/;
my $local6 = qr/^\[::1\]$/;
# Without an IPv6 address on an interface, [::] is optional.
my $any = $v6 ? qr/^0\.0\.0\.0 \[::\]$/ : qr/^0\.0\.0\.0( \[::\])?$/;
my @served = (
	[$local],
	[$local, '-a127.0.0.1'],
	[$local, '-a127.0.0.1:0'],
	[$local, '-a:0'],
	[$local6, '-a[::1]'],
	[$local6, '-a[::1]:0'],
	[qr/$local|$local6|^127\.0\.0\.1 \[::1\]$/, '-alocalhost:0'],
	[$any, '-a*'],
	[$any, '-a*:0'],
	[qr/^127\.0\.0\.1 127\.0\.0\.1 127\.0\.0\.2$/,
	    '-a127.0.0.1', '--address=:0', '-a', '127.0.0.2:0'],
	# The port of an address takes precedence over --port.
	[$local, '-p1', '-a127.0.0.1:0']
);

# All addresses on which a server listens. When one of them has answered, the
# server has printed all of them.
sub addresses {
	my ($server) = @_;
	my $first = answers($server->address);
	is $first, $answer, 'the first address answers' or return;
	$server->wait_listening(1)
	    while IO::Select->new($server->{out})->can_read(0);
	return $server->addresses;
}

for my $engine (grep { $_ ne '--uring' } @engines) {
	for (@served) {
		my ($expected, @args) = @$_;
		my $name = join ' ', $engine, @args;
		subtest "listen: $name" => sub {
			plan skip_all => 'no IPv6'
			    if $expected eq $local6 && !$v6;
			plan skip_all => 'localhost cannot be resolved' if
			    $name =~ /localhost/ && !gethostbyname 'localhost';
			my $server = start_server($engine, @args);
			my @found = addresses($server);
			# Any port is correct except 1, the value of -p.
			like join(' ', sort map { s/:(?!1$)\d+$//r } @found),
			    $expected, 'hosts';
			is answers($_), $answer, "$_ answers"
			    for grep { $v6 || !/^\[/ } @found;
			$server->stop;
		};
	}
}

subtest 'the last of a repeated option counts' => sub {
	my $server = start_server('-p1', '--port=0', '--count=5', '-n1');
	isnt $server->port, 1, '--port';
	is answers($server->address, '-a127.0.0.1:1'), $answer,
	    '--address of send';
	$server->stop(undef);
	ok defined $server->{status}, '--count';
};

# The service is chosen at random, because other tests may run at the same time.
subtest 'the name of a service as a port' => sub {
	my @services;
	while (my @entry = getservent) {
		push @services, $entry[0] if $entry[3] eq 'tcp';
	}
	endservent;
	my $name = first {
		my $port = getservbyname $_, 'tcp';
		$port > 1024 && listener(LocalPort => $port);
	} shuffle(@services);
	plan skip_all => 'no service with a free port above 1024' unless $name;
	for my $args (["-p$name"], ['-p1', "-a127.0.0.1:$name"]) {
		my $server = start_server(@$args);
		is $server->port, getservbyname($name, 'tcp'), "serve @$args";
		is answers("127.0.0.1:$name"), $answer,
		    "send -a 127.0.0.1:$name";
		$server->stop;
	}
};

# No resolver is asked for the second name.
for (['nosuch.invalid', qr/nosuch\.invalid/], ["a\e[31m\nb", qr/a\\x1b/]) {
	my ($host, $pattern) = @$_;
	for my $mode ('serve', 'send') {
		SKIP: {
			my $name = "echo $mode -a " . brief($host);
			my $run = run_echo({ deadline => $DEADLINE }, $mode,
			    @{ $harmless{$mode} }, '-a', $host);
			skip "$name: the resolver takes too long", 1
			    if $run->{signal};
			skip "$name: the resolver finds an address", 1
			    if $run->{status} != 3 && gethostbyname $host;
			$run->{time} = 0;	# the resolver's time
			fails($run, 3, "echo $mode", [$pattern], $name);
		}
	}
}

subtest 'ports that cannot be bound' => sub {
	my $holder = listener() or die "listen: $@";
	my $address = '127.0.0.1:' . $holder->sockport;
	my @in_use = (qr/\Q$address\E\b/, qr/in use/i);
	for my $args (['-a', $address], ['-p', $holder->sockport],
	    ['-a:0', '-a', $address]) {
		fails(run_echo({ deadline => $DEADLINE }, 'serve', @$args), 7,
		    'echo serve', \@in_use, "serve @$args: in use");
	}
	SKIP: {
		skip 'this user may listen on port 7', 1
		    if listener(LocalPort => 7) || !$!{EACCES};
		my $run = run_echo({ deadline => $DEADLINE }, 'serve', '-p7');
		is "$run->{status} $run->{err}", '7 echo serve: cannot ' .
		    'listen on 127.0.0.1:7: Permission denied (ports below ' .
		    "1024 need CAP_NET_BIND_SERVICE; try --port 10000)\n",
		    'a privileged port';
	}
};

done_testing;
