# The benchmark: its figures agree with the events, and a fault of the server
# ends it with one line and the exit status for that fault.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use JSON::PP ();
use POSIX qw(WEXITSTATUS WIFEXITED);
use Socket qw(SOMAXCONN);
use Test::More;
use Time::HiRes qw(time);
use WrongServers;

my $tmp = File::Temp->newdir;

# Runs bench until it exits, against a server of this file or an address. The
# first of the arguments may be a reference to options of run_echo. The timeout
# of 5 s is too short for a server on a busy machine.
sub bench {
	my ($server, @args) = @_;
	my %how = ref $args[0] ? %{ shift @args } : ();
	$server = $server->address if ref $server;
	return run_echo(\%how, 'bench', $server, '-t1m', @args);
}

# Measures with more and more time until the result of run_echo is good: on a
# busy machine a short run may end before the server has done anything. The
# durations of each try are for -d, and for a T in the arguments, as in -tT.
my @TRIES = (['50ms', '200ms'], ['1s', '2s'], ['5s', '5s']);
sub bench_until {
	my ($is_good, $server, @args) = @_;
	my $how = ref $args[0] ? shift @args : {};
	my $run;
	for (@TRIES) {
		my ($duration, $timeout) = @$_;
		$run = bench($server, $how, "-d$duration",
		    map { s/T$/$timeout/r } @args);
		last if $is_good->($run);
	}
	return $run;
}

# The pattern of an error line; ADDR stands for the server's address.
sub error_line {
	my ($server, $pattern) = @_;
	my $address = quotemeta(ref $server ? $server->address : $server // '');
	$pattern =~ s/\bADDR\b/$address/g;
	return qr/\Aecho bench: (?:$pattern)\n\z/;
}

# Asserts that a run ended with a status, exactly one line on stderr, and
# nothing on stdout.
sub fails {
	my ($run, $status, $server, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest $name => sub {
		is $run->{status}, $status, 'exit status';
		like $run->{err}, error_line($server, $pattern),
		    'error message';
		is $run->{out}, '', 'nothing on stdout';
	};
}

# The JSON objects that a run printed. Asserts that there are at least n, one
# per line, and nothing else.
sub objects {
	my ($run, $n) = (@_, 1);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @objects = grep { ref eq 'HASH' }
	    map { eval { JSON::PP::decode_json($_) } } split /\n/, $run->{out};
	my $lines = () = $run->{out} =~ /\n/g;
	is "$run->{status} $run->{err}", '0 ', 'exit status and stderr';
	is scalar(@objects), $lines, 'each line is a JSON object';
	cmp_ok scalar(@objects), '>=', $n, "at least $n";
	return @objects;
}

# The JSON object of one measurement.
sub measured {
	my ($server, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return (objects(bench($server, @args, '--json')))[0] // {};
}

# The same, measured for long enough that n messages (of --stream: bytes) were
# counted.
sub counted {
	my ($n, $server, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $run = bench_until(sub {
		my $m = eval { JSON::PP::decode_json($_[0]{out}) } // return 1;
		return ($m->{messages} // $m->{bytes}) >= $n;
	}, $server, @args, '--json');
	return (objects($run))[0] // {};
}

my @latencies = qw(p50_us p90_us p99_us p99_9_us max_us);
my @costs = qw(cpu_us_per_message cpu_s_per_gb memory_bytes);
my @keys = (qw(address mode connections size window idle round seconds
    messages messages_per_s bytes mb_per_s), @latencies, @costs);

# Asserts that two numbers differ by at most 1 %, or by the rounding of small
# ones.
sub is_near {
	my ($got, $expected, $name, $part) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $margin = ($part // 0.01) * $expected + 0.06;
	is_between($got, $expected - $margin, $expected + $margin, $name);
}

# Asserts that the figures of a measurement agree with each other. A message
# that was in flight at the start or the end is counted in part.
sub is_sound {
	my ($m, $mode, $in_flight) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is join(' ', sort keys %$m), join(' ', sort @keys), 'keys' or return;
	is $m->{mode}, $mode, 'mode';
	is_between($m->{seconds}, 0.05, 30, 'seconds');
	cmp_ok $m->{bytes}, '>', 0, 'bytes';
	is_near($m->{mb_per_s}, $m->{bytes} / 1e6 / $m->{seconds}, 'MB/s');
	if ($mode eq 'stream') {
		is join(' ', grep { defined $m->{$_} } qw(messages
		    messages_per_s cpu_us_per_message), @latencies), '',
		    'a stream has no messages';
		return;
	}
	is_between($m->{bytes}, ($m->{messages} - $in_flight) * $m->{size},
	    ($m->{messages} + $in_flight) * $m->{size}, 'bytes of messages');
	is_near($m->{messages_per_s}, $m->{messages} / $m->{seconds},
	    'messages/s');
	my @values = map { $m->{$_} } @latencies;
	cmp_ok $values[0], '>=', 1, 'a round trip takes more than 1 us';
	is "@values", join(' ', sort { $a <=> $b } @values),
	    'latencies are in order';
}

# Servers for single tests of this file. Each is Perl code that finds a
# listening socket in $l and its arguments in @ARGV.
my %special = (
	# Forks a child per client, which uses 40 ms of processor time, and
	# waits for it.
	'forks' => <<'END',
		while (my $c = $l->accept) {
			my $pid = fork // die;
			if ($pid == 0) {
				1 until (times)[0] + (times)[1] > 0.04;
				$c->autoflush;
				print $c $_ while sysread $c, $_, 100;
				exit;
			}
			close $c;
			waitpid $pid, 0;
		}
END

	# Two faults that only many connections, or long ones, can show: the
	# bytes of two connections are exchanged (crossed), or an old buffer is
	# sent once more (stale).
	'mixes-buffers' => <<'END',
		my ($n, $last, $held) = 0;
		serve(sub {
			my ($c, $bytes) = @_;
			if ($ARGV[0] eq 'crossed' && ++$n > 20) {
				$held = [$c, $bytes], return unless $held;
				syswrite $c, $held->[1];
				syswrite $held->[0], $bytes;
				undef $held;
			} else {
				$last //= $bytes if length $bytes == 64;
				syswrite $c, ++$n == 50 ? $last : $bytes;
			}
		}, sub { close $_[0] });
END

	# Logs the client's end of file and closes the connection some seconds
	# later, or never.
	'closes-late' => <<'END',
		my @open;
		serve(sub { syswrite $_[0], $_[1] }, sub {
			print STDERR "end of file\n";
			push @open, $_[0];
			return if $ARGV[0] eq 'never';
			select undef, undef, undef, $ARGV[0];
			close pop @open;
		});
END

	# Answers no client until a number of them wait, then logs whether more
	# of them wait, and serves all.
	'counts-waiting' => <<'END',
		my ($limit, $probe) = ($ARGV[0], $l->accept);
		my @waiting = map { $l->accept } 1 .. $limit;
		my $more = IO::Select->new($l)->can_read(0.5);
		print STDERR $more ? "more" : "no more", " than $limit wait\n";
		serve(sub { syswrite $_[0], $_[1] }, sub { close $_[0] },
		    @waiting);
END

	# Returns about 1.3 MB per second.
	'sends-slowly' => <<'END',
		serve(sub {
			select undef, undef, undef, 0.05;
			syswrite $_[0], $_[1];
		}, sub { close $_[0] });
END

	'echoes' => 'serve(sub { syswrite $_[0], $_[1] }, sub { close $_[0] });'
);

# The code that these servers share. serve() calls a function for each piece of
# input, and another one at a client's end of file.
my $library = <<'END';
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
my ($path, $backlog) = splice @ARGV, 0, 2;
my $l = $path ? IO::Socket::UNIX->new(Local => $path, Listen => $backlog) :
    IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => $backlog);
$l or die "cannot listen: $!";
sub serve {
	my ($input, $end, @clients) = @_;
	my $all = IO::Select->new($l, @clients);
	while (my @ready = $all->can_read) {
		for my $c (@ready) {
			if ($c == $l) {
				$all->add($l->accept // die);
			} elsif (sysread $c, my $bytes, 65536) {
				$input->($c, $bytes);
			} else {
				$all->remove($c);
				$end->($c);
			}
		}
	}
}
$SIG{PIPE} = 'IGNORE';
$| = 1;
print 'listening on ', $path ? "unix:$path" : '127.0.0.1:' . $l->sockport, "\n";
END

# Starts one of them. Options: path (a Unix socket), backlog.
sub start_special {
	my %how = ref $_[0] ? %{ +shift } : ();
	my ($name, @args) = @_;
	return start_command({ name => "server that $name" }, $^X, '-e',
	    "$library$special{$name}", $how{path} // '',
	    $how{backlog} // SOMAXCONN, @args);
}

# The processor time and the memory of a server.
my $has_figures = system_has('process_figures');

# --blocking serves one client at a time.
for my $engine (engines_but('--uring')) {
	my $blocking = $engine =~ /^--blocking\b/;
	my ($n, @c) = $blocking ? 1 : (20, '-c20');
	subtest "all modes of bench with $engine" => sub {
		my $server = start_server('-q', $engine, '--stream');
		my @pid = $has_figures ? ('--pid', $server->pid) : ();
		subtest 'round trips' => sub {
			my $m = counted(1, $server, @c, @pid);
			is_sound($m, 'round-trips', $n);
			return unless $has_figures;
			cmp_ok $m->{cpu_us_per_message}, '>', 0.1, 'CPU time';
			is_near($m->{cpu_s_per_gb},
			    $m->{cpu_us_per_message} / 64 * 1e3,
			    'CPU time per GB');
			cmp_ok $m->{memory_bytes}, '>', 50_000, 'memory';
		};
		subtest 'several messages in flight' => sub {
			is_sound(counted(1, $server, @c, '-s5000', '-w7'),
			    'round-trips', 7 * $n);
		};
		subtest 'large messages' => sub {
			is_sound(counted(1, $server, $blocking ? '-s50k' :
			    ('-s3M', '-c2')), 'round-trips', 2);
		};
		subtest 'streams' => sub {
			my $m = counted(1, $server, @c, '--stream', @pid);
			is_sound($m, 'stream', 0);
			cmp_ok $m->{cpu_s_per_gb}, '>', 0.01,
			    'CPU time per GB' if $has_figures;
		};
		subtest 'connections' => sub {
			is_sound(counted(1, $server, @c, '--connect'),
			    'connect', $n);
		};
		$server->stop;
	};
}

subtest 'a server of one message per connection' => sub {
	my $server = start_server('-q');
	is_sound(counted(1, $server, '--connect'), 'connect', 1);
	$server->stop;
};

subtest 'the log of the server agrees with the figures' => sub {
	my $server = start_server('--select', '-v');
	my $m = measured($server, qw(-d200ms -c2 -s40 -w4 --idle=30));
	is "@$m{qw(address connections size window idle round)}",
	    $server->address . ' 2 40 4 30 1', 'the options are in the figures';
	is join(' ', grep { defined $m->{$_} } @costs), '',
	    'without --pid, no costs of the server';
	$server->stop;
	my @closed = $server->log =~ /closed after (\d+) byte/g;
	is scalar(@closed), 33,
	    '32 connections, and one that checks for the server';
	is scalar(grep { $_ == 1 } @closed), 30,
	    'each of the 30 idle connections sends one byte';
	my ($all) = $server->log =~ /, (\d+) bytes\n\z/;
	cmp_ok $all, '>=', $m->{bytes}, 'all bytes were sent to the server';
	like $server->log, qr/ read 160 bytes/, 'four messages in one send';
};

subtest '950 connections with a limit of 64 files, which is raised' => sub {
	chomp(my $hard = `sh -c 'ulimit -Hn'`);
	plan skip_all => "the limit of open files is $hard"
	    if $hard ne 'unlimited' && $hard < 1100;
	my $server = start_server('--select', '-q');
	is_sound(counted(1, $server, {
	    wrap => ['sh', '-c', 'ulimit -Sn 64; exec "$@"', 'sh'] },
	    '-c', 900, '--idle', 50), 'round-trips', 900);
	$server->stop;
};

subtest 'a limit of 64 files that cannot be raised' => sub {
	my $server = start_server('--select', '-q');
	fails(bench($server, {
	    wrap => ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'] }, '-c100'),
	    7, $server, '100 connections need 116 descriptors, but the limit ' .
	    'is 64 .*', '100 connections');
	$server->stop;
};

# The servers of these tests answer after a known time.
subtest 'latencies' => sub {
	my $server = start_wrong('byte-by-byte', 0.03);
	my $m = counted(1, $server, '-s2', '-c2');
	cmp_ok $m->{p50_us}, '>=', 60_000, 'a round trip of 60 ms';
	# One message per connection began before the measurement.
	cmp_ok $m->{messages}, '<=', 2 * ($m->{seconds} / 0.06 + 1),
	    'as many messages as the time allows';
	$m = counted(5, $server, '-s1', '-w4');
	cmp_ok $m->{max_us}, '>=', 100_000,
	    'a message waits for those in flight before it';
	$server = start_wrong('starts-slowly', 0.15);
	$m = counted(1, $server, '--connect');
	cmp_ok $m->{p50_us}, '>=', 150_000, 'a connection of 150 ms';
	$server = start_wrong('starts-slowly', 1);
	$m = measure_again(sub { measured($server, '-d10ms', '--connect') },
	    sub { $_[0]{messages} == 0 });
	is $m->{p50_us}, undef, 'no message in time: no latency';
};

subtest 'a name that JSON has to quote' => sub {
	my $server = start_server('-q', '--select', '-a',
	    qq(unix:$tmp/a"b\\c\x7f\xc3\xa9));
	my $m = measured($server, '-d10ms');
	utf8::encode(my $name = $m->{address});
	is $name, $server->address, 'a Unix socket';
	$server->stop;
};

subtest 'the processor time of the server' => sub {
	if (!$has_figures) {
		my $run = run_echo('bench', '--pid=1');
		is $run->{status}, 2, 'exit 2 without these figures';
		like $run->{err}, qr/\A\N*--pid: not on this system\N*\n\z/,
		    'one line says why';
		return;
	}
	my $server = start_wrong('plain');	# one process per connection
	my $m = counted(1, $server, '-c2', '--pid', $server->pid);
	cmp_ok $m->{cpu_us_per_message}, '>', 2, 'children are included';

	# A child may use a part of its time before or after the measurement.
	$server = start_special('forks');
	$m = counted(4, $server, '--connect', '--pid', $server->pid);
	cmp_ok $m->{cpu_us_per_message}, '>', 25_000,
	    'children that have ended are included';

	$server = start_server('--select', '-q');
	measured($server, '-d200ms', '-c20', '--stream');
	my $before = $server->cpu;
	$m = measured($server, '-d100ms', '--pid', $server->pid);
	cmp_ok $m->{messages} * ($m->{cpu_us_per_message} // 0) / 1e6, '<=',
	    $server->cpu - $before + 0.03,
	    'the time before the measurement is not included';
	fails(bench($server, '-d100ms', '--pid=2147483647'), 7, $server,
	    '--pid: .*2147483647: No such process', 'no such process');
	$server->stop;
};

# The rows of the table that bench prints for several servers:
# { figure => [[address, median, least, most, ratio], ...] }.
sub table_of {
	my ($run) = @_;
	my (%rows, $figure);
	for (split /\n/, $run->{out}) {
		$figure = $1 if /^(\S.*?) {2,}median +least +most +ratio$/;
		push @{ $rows{$figure} }, [split] if defined $figure && /^  \S/;
	}
	return \%rows;
}

subtest 'several servers in turn' => sub {
	my @servers = map { start_server('--select', '-q') } 1, 2;
	my @addresses = map { $_->address } @servers;
	my @pids = $has_figures ? map { '--pid=' . $_->pid } @servers : ();
	my @turns = objects(run_echo('bench', @addresses, '-d20ms', @pids,
	    '--rounds=3', '--json'));
	is join(' ', map { "$_->{round}:$_->{address}" } @turns),
	    join(' ', map { my $r = $_; map { "$r:$_" } @addresses } 1 .. 3),
	    'three rounds of two servers, in turn';
	is scalar(grep { $_->{memory_bytes} } @turns), $has_figures ? 6 : 0,
	    'each with its --pid';
	is scalar(objects(run_echo('bench', @addresses, '-d1ms', '--json'))),
	    10, 'five rounds are the default';

	# Every figure of every round must be known, and none be zero. Messages of
	# 4 KiB make MB/s large enough for two digits after the point.
	my $run;
	for my $duration ('50ms', '500ms', '3s') {
		$run = run_echo('bench', @addresses, "-d$duration", '-v',
		    '-s4k', @pids);
		last if $run->{out} !~ / -(?: |$)| 0\.0+ /m;
	}
	is $run->{status}, 0, 'exit status';
	my $rows = table_of($run);
	is join(', ', sort keys %$rows), 'MB/s, max, us, p50, us, p90, us, ' .
	    'p99, us, p99.9, us, round trips/s' . ($has_figures ?
	    ', server CPU, s/GB, server CPU, us/round trip, ' .
	    'server memory, bytes' : ''),
	    'the figures of the table';
	for my $name (sort keys %$rows) {
		my ($first, $second) = @{ $rows->{$name} };
		is "$first->[0] $second->[0]", "@addresses",
		    "$name: a row for each server";
		is_between($_->[1], $_->[2], $_->[3],
		    "$name: the median lies between least and most")
		    for $first, $second;
		is $first->[4], '1.00', "$name: the ratio of the first server";
		is_near($second->[4], $second->[1] / $first->[1],
		    "$name: the ratio of the medians", 0.05);
	}
	my @rates = $run->{err} =~
	    /^\Q$addresses[1]\E round \d: .* ([\d.]+) round trips\/s, p50 /mg;
	is scalar(@rates), 5, '-v prints each round';
	is $rows->{'round trips/s'}[1][1],
	    (sort { $a <=> $b } @rates)[2], 'the median is the third of five';
	$_->stop for @servers;
};

subtest 'the report of one server' => sub {
	my $server = start_server('--select', '-q');
	my $run = bench_until(sub { $_[0]{out} =~ /p50/ }, $server, '-s20',
	    '-w3', '-c2');
	like $run->{out}, qr/\A\Q@{[$server->address]}\E:
	    \ round\ trips\ of\ 20\ bytes,\ 3\ in\ flight\ on\ each\ of\ 2\ connections\n
	    (?:\ \ \S.*?\ +\d+(?:\.\d+)?\n){7}\z/x, 'one figure per line';
	is $run->{err}, '', 'no progress if stderr is not a terminal';
	SKIP: {
		skip 'no /dev/full', 2 unless -c '/dev/full';
		fails(bench($server, { out => '/dev/full' }, '-d1ms', @$_), 7,
		    $server, 'cannot write to standard output: .*',
		    "@$_ >/dev/full") for [], ['--json'];
	}
	$server->stop;
};

subtest 'the report on a terminal' => sub {
	plan skip_all => 'no script(1)'
	    if system('script --version >/dev/null 2>&1') != 0;
	my $server = start_server('--select', '-q');
	my @script = ('script', '-qec', join(' ', program('echo'), 'bench',
	    $server->address, '-d500ms'), '/dev/null');
	my $out = measure_again(sub {
		run_command(@script)->{out}
	}, sub { $_[0] =~ /#\r/ });
	like $out, qr/\r\Q@{[$server->address]}\E: \d\.\d s, \d+ bytes/,
	    'progress';
	my @bars = $out =~ /^ +[\d.]+ +(\d+ #*)\r$/mg;
	cmp_ok scalar(@bars), '>', 1, 'a bar for each range of latencies';
	my ($longest) = sort { length $b <=> length $a }
	    map { /(#*)$/ } @bars;
	is length $longest, 80 - 24, 'the longest bar fills the terminal';
	$server->stop;
};

# Wrong servers: [server, options, status, error message, other message].
my @wrong = (
	['flip 20', [], 1, 'differs at byte 20: sent 0x.., got 0x..'],
	['flip 1', [], 1, 'differs at byte 1: sent 0x.., got 0x..'],
	['flip 20', ['--connect'], 1, 'differs at byte 20: .*'],
	['flip 100001', ['--stream'], 1, 'differs at byte 100001: .*'],
	['loses 300000 1', ['--stream'], 1, 'differs at byte 3\d{5}: .*'],
	['doubles', ['--stream'], 1, 'differs at byte \d+: .*'],
	['swaps', ['--stream'], 1, 'differs at byte \d+: .*'],
	['banner', [], 1, 'differs at byte 1: .*|returned .* too many .*'],
	['twice', [], 1, 'returned 1 byte too many after 1'],
	['twice', ['--connect'], 1, 'returned 64 bytes too many after 64'],
	['extra-later', ['--idle=1', '-d1'], 1,
	    'returned 1 byte too many after .*|' .
	    'differs at byte 2: .*, got 0x21'],
	map({ ['extra-at-eof', $_, 1, 'returned 1 byte too many after \d+'] }
	    [], ['--stream'], ['--connect']),
	['mute', ['-tT'], 5,
	    'timed out: received nothing for [\d.]+ m?s after 0 of 1 bytes'],
	['mute', ['-tT', '--connect'], 5, 'timed out: .* 0 of 64 bytes'],
	['never-reads', ['-tT'], 5, 'timed out: .* 0 of 1 bytes'],
	['half', ['-tT', '--connect'], 5, 'timed out: .* 32 of 64 bytes'],
	['answers-at-eof', ['-tT'], 5, 'timed out: .* 0 of 1 bytes'],
	['stops-at-pause', ['-tT', '-d1ms', '--idle=1'], 0],
	['stays-open', [], 0],
	['stays-open', ['-tT', '--stream'], 5,
	    'timed out: .* after (\d+) of \1 bytes, and no end of file'],
	['stays-open', ['-tT', '--connect'], 5,
	    'timed out: .* after 64 of 64 bytes, and no end of file'],
	['closes 30', [], 6, 'closed after 30 of 65 bytes'],
	['closes 30', ['--connect'], 6, 'closed after 30 of 64 bytes'],
	['closes 1', [], 6, '(?:closed|failed) after 1 of .*'],
	['half-closes 30', [], 6, 'closed after 30 of 65 bytes'],
	['closes-at-once', [], 6, '.*'],
	['resets 30', [], 6, 'failed after \d+ of 65 bytes: .* reset .*'],
	['resets-at-once', [], 6, '.*', 'cannot connect to ADDR: .* reset .*'],
	['resets-at-eof', [], 6, 'failed after (\d+) of \1 bytes: .*'],
	['homework', [], 6, '(?:closed|failed) after 1 of \d+ bytes.* ' .
	    '\(does it close after one message\? try --connect\)'],
	['homework', ['--connect', '-s63'], 0],
	['one-at-a-time', [], 0],
	['one-at-a-time', ['-c2', '-tT'], 5,
	    'timed out: .* after 0 of 1 bytes']
);
for (@wrong) {
	my ($name, $options, $status, $message, $other) = @$_;
	my $server = start_wrong(split ' ', $name);
	$message = "ADDR connection \\d+ (?:$message)" if defined $message;
	$message .= "|$other" if defined $other;
	my $line = $status == 0 ? qr/\A\z/ : error_line($server, $message);
	my $run = bench_until(sub {
		$_[0]{status} == $status && $_[0]{err} =~ $line
	}, $server, @$options);
	my $what = "server that $name: @$options";
	if ($status == 0) {
		is "$run->{status} $run->{err}", '0 ', $what;
	} else {
		fails($run, $status, $server, $message, $what);
	}
}

for my $fault ('crossed', 'stale') {
	my $server = start_special('mixes-buffers', $fault);
	my $run = bench_until(sub { $_[0]{status} == 1 }, $server, '-c2');
	fails($run, 1, $server, 'ADDR connection [12] differs at byte \d+: .*',
	    "server with a $fault buffer");
}

# The mode faulty, which is independent of bench, with a fault in every third
# connection: the first connection only checks for the server, and two measure.
subtest 'faults of one connection' => sub {
	for (['corrupt=20000', 1, 'connection \d differs at byte \d+: .*'],
	    ['double=20000', 1, 'connection \d returned 1 byte too many .*'],
	    ['close=20000', 6, 'connection \d closed .*'],
	    ['reset=20000', 6, 'connection \d .*reset.*'],
	    ['mute', 5, 'connection \d timed out.*']) {
		my ($fault, $status, $says) = @$_;
		my $server = start_command({ name => "faulty $fault" },
		    program(), qw(faulty -q --port=0 --every=3), $fault);
		fails(bench($server, qw(-c2 -s100 -d20 -t300ms)), $status,
		    $server, "ADDR $says", $fault);
		$server->stop;
	}
};

subtest 'servers that cannot be reached' => sub {
	my ($holder, $closed) = closed_port();
	my $refused = 'cannot connect to ADDR: Connection refused .*';
	fails(bench($closed), 4, $closed, $refused, 'connection refused');
	my $server = start_server('--select', '-q');
	my $run = bench($server, $closed, '-d20');
	fails($run, 4, $closed, $refused, 'the second of two servers');
	cmp_ok $run->{time}, '<', 20, 'reported before the first is measured';
	$server->stop;
	SKIP: {
		my $full = full_backlog() or skip 'no full backlog here', 1;
		fails(bench($full->{address}, '-t300ms'), 5, $full->{address},
		    'cannot connect to ADDR: .* timed out',
		    'no answer to a SYN');
	}
	# The queue has room for the connection that checks for the server.
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
	    or die;
	listen $l, 0 or die "listen: $!";
	my $address = '127.0.0.1:' . $l->sockport;
	fails(bench($address, '-t300ms'), 5, $address,
	    'cannot connect to ADDR: .* timed out',
	    'no answer to the second SYN');
};

subtest 'usage errors' => sub {
	my $server = start_server('--select', '-q');
	fails(bench($server, @{ $_->[0] }), 2, undef, $_->[1], "@{ $_->[0] }")
	    for [['-s0'], '--size: "0" .* from 1 to .*'],
	    [['-s2G'], '--size: "2G" .*'],
	    [['--stream', '-s100k'], '--size: .* 65536 .*'],
	    [['--stream', '-w2'], '--window .* --stream .*'],
	    [['--connect', '-w2'], '--window .* --connect .*'],
	    ($has_figures ? [['--pid=1', '--pid=1'],
	    '--pid: given 2 times for 1 address .*'] : ()),
	    [['-a', '127.0.0.1'], '--address and ADDRESS .*'],
	    [[(':1') x 64], 'more than 64 addresses .*'];
	$server->stop;
};

# Connections that bench has closed keep their ports for a minute, so one source
# address does not have enough ports. Each source address is used a thousand
# times.
subtest 'thousands of connections' => sub {
	plan skip_all => 'only Linux has more than one source address'
	    unless system_has('linux');
	my $server = start_server('--select');
	my %hosts;
	for my $duration ('300ms', '3s', '30s') {
		measured($server, "-d$duration", '-c20', '--connect');
		$hosts{$_} = 1 for $server->log =~ /^(\S+):\d+ connected/mg;
		last if keys %hosts > 1;
	}
	cmp_ok scalar(keys %hosts), '>', 1, 'more than one source address';
	$server->stop;
};

subtest 'a backlog that is full' => sub {
	my %how = (path => "$tmp/backlog", backlog => 1);
	my $server = start_special(\%how, 'echoes');
	for (['--connect', '-c100', '-d200ms'], ['-c100', '-d200ms']) {
		my $run = bench($server, @$_);
		is "$run->{status} $run->{err}", '0 ', "@$_";
	}
	my $l = IO::Socket::UNIX->new(Local => "$tmp/full", Listen => 1)
	    or die "$tmp/full: $!";
	listen $l, 0 or die "listen: $!";
	fails(bench("unix:$tmp/full", '-t300ms'), 5, "unix:$tmp/full",
	    'cannot connect to ADDR: .* timed out', 'until the timeout');
};

subtest 'few connections wait for their first byte at a time' => sub {
	my $server = start_special('counts-waiting', 32);
	measured($server, '-c100', '-d10ms');
	is $server->log, "no more than 32 wait\n", 'log of the server';
};

# A process that is not scheduled for a second may exceed the time limits of
# these runs, which are therefore repeated.
subtest 'the closing of connections' => sub {
	# 51 s for a message, although no byte is late.
	my $server = start_wrong('byte-by-byte', 0.2);
	my $late = 'ADDR connection 1 timed out: \d+ of 257 bytes received ' .
	    '1\.7 s after the measurement';
	my $run = measure_again(sub {
		bench($server, '-d200ms', '-t1500ms', '-s256')
	}, sub { $_[0]{err} =~ error_line($server, $late) });
	fails($run, 5, $server, $late,
	    'a server that sends a few bytes per second');
	cmp_ok $run->{time}, '<', 30, 'it ends before the message is complete';

	# The sockets contain some MB, which need longer than the timeout.
	$server = start_special('sends-slowly');
	$run = measure_again(sub {
		bench($server, '--stream', '-d50ms', '-t1200ms')
	}, sub { $_[0]{status} == 0 });
	is "$run->{status} $run->{err}", '0 ', 'a slow server is waited for';
	cmp_ok $run->{time}, '>', 1.3, 'it needs longer than the timeout';

	# The idle connection has received nothing for longer than the timeout
	# before its FIN, and its server closes it a moment later.
	$server = start_special('closes-late', 0.3);
	$run = measure_again(sub {
		bench($server, '--stream', '--idle=1', '-d1600ms', '-t1500ms')
	}, sub { $_[0]{status} == 0 });
	is "$run->{status} $run->{err}", '0 ',
	    'the timeout begins with the FIN';
};

# The server is killed after a number of connections, one of which checked for
# the server.
for (['-c3', 4], ['--stream', 2], ['--connect', 20]) {
	my ($option, $n) = @$_;
	subtest "the server dies: $option" => sub {
		my $server = start_server('--select');
		my $killer = spawn(sub {
			$server->wait_log('connected', $n);
			$server->signal('KILL');
		});
		my $run = bench($server, $option, '-d60s');
		waitpid $killer, 0;
		like $run->{status}, qr/^[46]$/, 'exit status';
		like $run->{err}, qr/\Aecho bench: [^\n]+\n\z/, 'one line';
		cmp_ok $run->{time}, '<', 50, 'bench ends at once';
		is $server->wait, 9, 'the server was killed';
	};
}

my %err = (err => "$tmp/err");	# of bench in the background
sub stderr_of_bench { -e "$tmp/err" ? slurp("$tmp/err") : '' }

# Waits for the end of a process: its exit status, or its signal.
sub end_of {
	my ($pid) = @_;
	waitpid $pid, 0;
	return WIFEXITED($?) ? WEXITSTATUS($?) : 'signal ' . ($? & 127);
}

# Whether the process has a handler for SIGINT (signal 2, the second bit).
sub catches_int {
	my ($pid) = @_;
	return slurp("/proc/$pid/status") =~ /^SigCgt:\s*[0-9a-f]+[2367abef]$/m;
}

subtest 'Ctrl-C during the measurement' => sub {
	my $server = start_server('--select', '-q');
	my ($pid, $out) = start_bench(\%err, $server->address, '--rounds=900',
	    '-d100ms', '--json');
	my $line = readline $out;
	my $start = time;
	kill INT => $pid;
	$line .= join '', readline $out;
	is end_of($pid), 0, 'exit status';
	cmp_ok time - $start, '<', $DEADLINE, 'it ends long before the rounds';
	objects({ status => 0, err => stderr_of_bench(), out => $line });

	($pid, $out) = start_bench(\%err, $server->address, '--rounds=900',
	    '-d100ms', '-v');
	ok defined wait_until(sub { stderr_of_bench() =~ /round 3:/ }),
	    'three rounds without --json';
	kill INT => $pid;
	my @rows = grep { /^  / } readline $out;
	is end_of($pid), 0, 'exit status';
	is scalar(@rows), 7, 'all figures of the rounds so far' or diag @rows;
	$server->stop;
};

subtest 'Ctrl-C before anything was measured' => sub {
	my $server = start_wrong('mute');
	my ($pid) = start_bench(\%err, $server->address, '-t1h');
	ok defined wait_until(sub { catches_int($pid) }), 'bench waits';
	kill INT => $pid;
	is end_of($pid), 1, 'exit status';
	is stderr_of_bench(), "echo bench: interrupted before anything was " .
	    "measured\n", 'error message';
};

subtest 'Ctrl-C while connections are closed' => sub {
	my $server = start_special('closes-late', 'never');
	my ($pid, $out) = start_bench(\%err, $server->address, '--stream', '-d200ms',
	    '-t0');
	# One connection checks for the server.
	ok $server->wait_log('end of file', 2), 'bench waits for the server';
	kill INT => $pid;
	my @rows = readline $out;
	is end_of($pid), 0, 'exit status';
	like join('', @rows), qr{^  MB/s +\d}m, 'the figures are printed';
};

# bench waits in write(2) because its standard output is a full pipe.
subtest 'the second Ctrl-C ends bench at once' => sub {
	my $server = start_server('--select', '-q');
	my ($pid, $out) = start_bench({ %err, full => 1 }, $server->address,
	    '-d10ms', '--json', '-v');
	ok defined wait_until(sub { stderr_of_bench() =~ /round 1:/ }),
	    'bench has measured';
	kill INT => $pid;
	ok defined wait_until(sub { !catches_int($pid) }),
	    'bench catches the first signal';
	kill INT => $pid;
	is end_of($pid), 'signal 2', 'the second signal kills it';
	$server->stop;
};

done_testing;
