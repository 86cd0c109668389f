# bench with UDP: its counts agree with the actions of the server, and every run
# ends.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Socket::IP ();
use JSON::PP qw(decode_json);
use POSIX qw(WEXITSTATUS WIFEXITED);
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(time);
use WrongDatagrams;

my $tmp = File::Temp->newdir;

# Runs bench until it exits, against a server or an address. The timeout of 5 s
# is too short for a server on a busy machine.
sub bench {
	my ($server, @args) = @_;
	$server = $server->address if ref $server;
	return run_echo('bench', $server, '-t1m', @args);
}

# The JSON objects that a run printed.
sub objects { map { decode_json($_) } split /\n/, $_[0]{out} }

# The figures of one measurement. It is repeated, each time with four times the
# duration and four times the limit of --late, until they are good: on a busy
# machine a reply may be late, and a short run may end before the server has done
# anything, or without a correct reply.
sub measured {
	my ($good, $server, @args) = @_;
	my ($late) = map { /^--late=(\d+)ms$/ } @args;
	my ($run, $m);
	for my $factor (1, 4, 16, 64) {
		my $duration = $factor * ($late ? 5 * $late : 100);
		$run = bench($server, "-d${duration}ms", '--json',
		    map { s/^--late=\K(\d+)/$1 * $factor/er } @args);
		($m) = objects($run);
		last if $m && $good->($m);
	}
	return ($m // {}, $run);
}

my @counts = qw(sent messages lost late duplicated reordered corrupted foreign
    dropped);

# Whether the counts of a measurement are zero, except those that are named.
sub has_only {
	my ($m, @names) = @_;
	my %expected = map { $_ => 1 } 'sent', 'messages', @names;
	return $m->{sent} && !grep { $m->{$_} && !$expected{$_} } @counts;
}

# Asserts that these counts are zero.
sub only_counts {
	my ($m, @names) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %expected = map { $_ => 1 } 'sent', 'messages', @names;
	is join(' ', grep { $m->{$_} } @counts),
	    join(' ', grep { $expected{$_} } @counts), 'what is not zero';
}

# Asserts that a count is a part of the messages sent, with a margin for the
# first and the last ones.
sub is_part {
	my ($m, $name, $part, $margin) = (@_, 2);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_between($m->{$name}, $part * $m->{sent} - $margin,
	    $part * $m->{sent} + $margin, $name);
}

sub fails {
	my ($run, $status, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest $name => sub {
		is $run->{status}, $status, 'exit status';
		like $run->{err}, qr/\Aecho bench: (?:$pattern)\n\z/,
		    'one line on stderr';
		is $run->{out}, '', 'nothing on stdout';
	};
}

my $address = qr/udp:127\.0\.0\.1:\d+/;

# The workers of a server may overtake each other.
for my $engine (engines_but('--uring')) {
	my @may = $engine =~ /workers/ ? 'reordered' : ();
	subtest "a correct server: $engine" => sub {
		my $server = start_server('-q', $engine, '-u');
		my @pid = system_has('process_figures') ?
		    ('--pid', $server->pid) : ();
		for (['-c20', '-w8', '-s1200'], $engine ne '--select' ?
		    ['-c1'] : (['-s16', '-w3'], ['-s65507'])) {
			my ($m) = measured(sub { has_only($_[0], @may) },
			    $server, @$_, @pid);
			subtest "@$_" => sub {
				only_counts($m, $m->{reordered} ? @may : ());
				is $m->{messages}, $m->{sent},
				    'every datagram came back';
				is $m->{bytes}, $m->{sent} * $m->{size},
				    'bytes';
				cmp_ok $m->{p50_us}, '>=', 1, 'median';
				cmp_ok $m->{max_us}, '>=', $m->{jitter_us},
				    'the jitter is less than the maximum';
				cmp_ok $m->{cpu_us_per_message}, '>', 0.1,
				    'CPU time' if @pid;
				is $m->{address}, $server->address, 'address';
			};
		}
		$server->stop;
	};
}

# Servers with one fault: name, options of bench, what must be counted, and the
# part of the messages that it is.
my @faults = (
	['loses 3', ['--late=100ms'], 'lost', 1 / 3],
	['doubles 3', [], 'duplicated', 1 / 3],
	['corrupts 3 0', [], 'corrupted', 1 / 3],
	['corrupts 3 15', [], 'corrupted', 1 / 3],
	['corrupts 3 63', [], 'corrupted', 1 / 3],
	['resizes 3 63', [], 'corrupted', 1 / 3],
	['resizes 3 65', [], 'corrupted', 1 / 3],
	['resizes 3 9', [], 'corrupted', 1 / 3],
	['resizes 3 0', [], 'corrupted', 1 / 3]
);
for (@faults) {
	my ($name, $options, $what, $part) = @$_;
	subtest "server that $name" => sub {
		my $server = start_wrong_udp(split / /, $name);
		my ($m, $run) = measured(sub {
			$_[0]{$what} && has_only($_[0], $what)
		}, $server, @$options);
		only_counts($m, $what);
		is_part($m, $what, $part);
		is $m->{sent}, $m->{messages} + $m->{lost} + $m->{corrupted},
		    'each message has one end';
		is $run->{status}, $what eq 'corrupted' ? 1 : 0, 'exit status';
		like $run->{err}, $what eq 'corrupted' ?
		    qr/^echo bench: $m->{corrupted} datagrams? came back with/ :
		    qr/\A\z/, 'stderr';
	};
}

subtest 'a lost datagram does not count as a latency' => sub {
	my $server = start_wrong_udp('loses', 4);
	my ($m) = measured(sub { $_[0]{lost} && $_[0]{max_us} < 300_000 },
	    $server, '--late=300ms', '-w2');
	cmp_ok $m->{lost}, '>', 0, 'datagrams were lost';
	cmp_ok $m->{max_us}, '<', 300_000, 'the longest round trip';
	my ($text) = bench($server, '-d500ms', '--late=50ms')->{out} =~
	    /^  lost, % +([\d.]+)$/m;
	is_between($text, 10, 40, 'the percentage that is printed');
};

subtest 'a late reply is neither lost nor a duplicate' => sub {
	my $server = start_wrong_udp('delays', 3, 0.15);
	my $m;
	measure_again(sub {
		($m) = objects(bench($server, '--late=70ms', '-d1500ms',
		    '--json'));
	}, sub { $m->{late} > 2 && $m->{lost} <= 3 && !$m->{reordered} });
	only_counts($m, 'late', $m->{lost} ? 'lost' : ());
	# The last replies may be too late for the end of the run.
	is_part($m, 'late', 1 / 3, 4);
	cmp_ok $m->{lost}, '<=', 3, 'only the last ones are lost';
	cmp_ok $m->{max_us}, '>=', 150_000, 'the latency of a late reply';
};

subtest 'a reply from another port is foreign' => sub {
	my $server = start_wrong_udp('replies-from-another-port', 3);
	my ($m) = measured(sub { $_[0]{foreign} && !$_[0]{late} }, $server,
	    '--late=50ms');
	only_counts($m, 'foreign', 'lost');
	is $m->{foreign}, $m->{lost}, 'each of them is missing';
	is_part($m, 'foreign', 1 / 3);
};

subtest 'the datagram of another client is foreign' => sub {
	my $server = start_wrong_udp('crosses');
	my ($m) = measured(sub {
		$_[0]{foreign} && has_only($_[0], 'foreign', 'lost')
	}, $server, '-c2', '-w2', '--late=20ms');
	only_counts($m, 'foreign', 'lost');
};

subtest 'replies in another order' => sub {
	my $server = start_wrong_udp('swaps');
	my ($m) = measured(sub { $_[0]{reordered} && !$_[0]{late} }, $server,
	    '-w2', '--late=40ms');
	only_counts($m, 'reordered');
	is $m->{messages}, $m->{sent}, 'every datagram came back';
};

subtest 'all kinds together' => sub {
	my $server = start_wrong_udp('has-all-faults');
	my $n;
	my $run = measure_again(sub {
		my $run = bench($server, '-w8', '--late=30ms', '-d1s',
		    '--json');
		($n) = objects($run);
		return $run;
	}, sub {
		my $late = $n->{late} / ($n->{sent} || 1);
		$late > 0.05 && $late < 0.15;
	});
	my $margin = 10;
	is_part($n, $_, 0.1, $margin) for qw(duplicated corrupted late);
	# Not every such message is overtaken.
	is_between($n->{reordered}, 1, 0.1 * $n->{sent} + $margin, 'reordered');
	is_part($n, 'foreign', 0.2, $margin);	# also the garbage
	is_part($n, 'lost', 0.2, $margin);	# foreign ones are missing
	is $n->{sent}, $n->{messages} + $n->{lost} + $n->{corrupted},
	    'each message has one end';
	is $run->{status}, 1, 'exit status';
};

subtest 'the options of faulty' => sub {
	plan skip_all => 'faulty has no --udp here' if run_echo('faulty',
	    '--help')->{out} !~ /--udp\b/;
	my %fault = (lost => 'lose=30', duplicated => 'double',
	    corrupted => 'corrupt', reordered => 'reorder',
	    foreign => 'other-source', late => 'delay=100ms');
	for my $what (sort keys %fault) {
		my $server = start_command({}, program('echo'), 'faulty',
		    $fault{$what}, '-u', '--port=0', '--every=4', '-q');
		my $m;
		measure_again(sub {
			($m) = objects(bench($server, '-w3', '-d200ms',
			    '--late=60ms', '--json'));
		}, sub { $m->{$what} });
		cmp_ok $m->{$what}, '>', 0, $fault{$what};
	}
};

# A port without a server. The socket holds the port, but is connected to
# another port, so the kernel refuses datagrams.
sub refusing_address {
	my $sock = IO::Socket::IP->new(LocalHost => '127.0.0.1',
	    PeerHost => '127.0.0.1', PeerPort => 1, Proto => 'udp',
	    Type => SOCK_DGRAM) or die "no socket: $@";
	return ($sock, 'udp:127.0.0.1:' . $sock->sockport);
}

subtest 'servers that are not there' => sub {
	my ($sock, $closed) = refusing_address();
	fails(bench($closed), 4, "cannot connect to \Q$closed\E: Connection " .
	    'refused .*', 'ICMP port unreachable');
	my $server = start_wrong_udp('stops-answering', 0);
	fails(run_echo('bench', $server->address, '-t300ms'), 5,
	    "$address does not answer", 'a server that never answers');
	my $run = bench(start_wrong_udp('echoes'), $closed, '-d20s');
	fails($run, 4, 'cannot connect to .*', 'the second of two servers');
	cmp_ok $run->{time}, '<', 20, 'reported before the first is measured';
	$server = start_wrong_udp('replies-from-another-address');
	fails(run_echo('bench', $server->address, '-t300ms'), 5,
	    "$address does not answer, but a datagram came from " .
	    'udp:127\.0\.0\.2:\d+', 'a reply from another address');
};

subtest 'servers that stop during the run' => sub {
	my $server = start_wrong_udp('exits', 50);
	fails(bench($server, '-d1m'), 4,
	    "$address failed after \\d+ replies: Connection refused",
	    'a server that exits');
	$server = start_wrong_udp('stops-answering', 50);
	my $run = run_echo('bench', $server->address, '-d1m', '-t500ms');
	fails($run, 5, "$address timed out: received nothing for 500\\.0 ms " .
	    'after \d+ replies', 'a server that stops answering');
	$server = start_wrong_udp('stops-answering', 1);
	fails(bench($server, '-d100ms', '--late=20ms'), 5,
	    "$address answered none of \\d+ datagrams?",
	    'a run that is shorter than the timeout');
};

subtest 'servers that flood the client' => sub {
	for my $what ('garbage', 'copies') {
		my $server = start_wrong_udp('floods', $what);
		my $run = bench($server, '-d200ms', '--late=50ms');
		cmp_ok $run->{time}, '<', $DEADLINE, "$what: the run ends";
		like $run->{status}, qr/^[05]$/, "$what: exit status";
	}
};

subtest 'Ctrl-C' => sub {
	for my $options (['-c1'], ['-c5', '-w8', '-s1200']) {
		my $server = start_server('-u', usual_engine(), '-q');
		my ($pid, $out) = start_bench($server->address, @$options,
		    '--rounds=900', '-d300ms', '--json');
		my $line = readline $out;
		kill INT => $pid;
		my $start = time;
		my @rest = readline $out;
		waitpid $pid, 0;
		is WIFEXITED($?) ? WEXITSTATUS($?) : "signal $?", 0,
		    "@$options: exit status";
		cmp_ok time - $start, '<', $DEADLINE, "@$options: it ends";
		cmp_ok decode_json($line)->{messages}, '>', 0,
		    "@$options: figures";
		$server->stop;
	}
	my $server = start_wrong_udp('stops-answering', 3);
	my ($pid, $out) = start_bench($server->address, '-t0', '-d1h',
	    '--late=10ms');
	ok defined wait_until(sub {
		slurp("/proc/$pid/status") =~ /^SigCgt:\s*[0-9a-f]+[2367abef]$/m
	}), 'bench measures a server that has stopped answering';
	kill INT => $pid;
	waitpid $pid, 0;
	like WEXITSTATUS($?), qr/^[15]$/, 'it ends';
};

subtest 'several servers in turn' => sub {
	my @servers = (start_server('-u', usual_engine(), '-q'),
	    start_wrong_udp('loses', 5), start_server(usual_engine(), '-q'));
	my @addresses = map { $_->address } @servers;
	my @turns = objects(run_echo('bench', @addresses, '-d50ms',
	    '--late=20ms', '--rounds=2', '--json'));
	is join(' ', map { $_->{address} } @turns), "@addresses @addresses",
	    'two rounds of two UDP servers and one TCP server';
	is join(' ', map { exists $_->{lost} ? 1 : 0 } @turns),
	    '1 1 0 1 1 0', 'datagrams are counted for UDP only';
	my $run = run_echo('bench', @addresses, '-d100ms', '--late=20ms',
	    '--rounds=2');
	is $run->{status}, 0, 'exit status';
	like $run->{out}, qr/^lost\ +median.*
	    \n\ \ \Q$addresses[0]\E\ +0\ .*
	    \n\ \ \Q$addresses[1]\E\ +[1-9]\d*\ .*
	    \n\ \ \Q$addresses[2]\E\ +-\ /mx, 'the table';
	$servers[$_]->stop for 0, 2;
};

subtest 'the report of one server' => sub {
	my $server = start_server('-u', usual_engine(), '-q');
	my ($port) = $server->address =~ /(\d+)$/;
	my $run = run_echo('bench', '-u', '-p', $port, '-t1m', '-s100', '-w3',
	    '-c2', '-d300ms');
	like $run->{out}, qr/\Audp:127\.0\.0\.1:$port: round trips of 100 /,
	    '-u makes UDP the default';
	like $run->{out}, qr/, 3 in flight on each of 2 UDP clients\n/,
	    'what was measured';
	like $run->{out}, qr/^  \Q$_\E +[\d.]+$/m, $_ for 'round trips/s',
	    'datagrams sent', 'lost', 'lost, %', 'late', 'duplicated',
	    'reordered', 'corrupted', 'foreign', 'jitter, us';
	$server->stop;
};

subtest 'IPv6' => sub {
	my $server = eval { start_server('-u', usual_engine(), '-q', '-a',
	    '[::1]:0') };
	plan skip_all => 'no IPv6 here' unless $server;
	my ($m) = measured(sub { $_[0]{messages} }, $server, '-s1000');
	cmp_ok $m->{messages}, '>', 0, 'round trips';
	$server->stop;
};

subtest 'usage errors' => sub {
	my $server = start_server('-u', usual_engine(), '-q');
	fails(bench($server, @{ $_->[0] }), 2, $_->[1], "@{ $_->[0] }")
	    for [['-s15'], '--size: with UDP it is at least 16, .*'],
	    [['-s65508'], '--size: .* over IPv4 has at most 65507 .*'],
	    [['--stream'], '--stream is for TCP, .*'],
	    [['--connect'], '--connect is for TCP, .*'],
	    [['--idle=1'], '--idle is for TCP, .*'];
	$server->stop;
};

done_testing;
