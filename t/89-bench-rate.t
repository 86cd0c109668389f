# bench --rate, --search and --percentiles: the latency counts from the time at
# which a message is due, whatever the server does, and every run ends.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use IO::Socket::IP ();
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep time);

my $INTERVAL = 0.4;		# seconds between two pauses of a server,
my $PAUSE = 0.1;		# and how long each of them is

# Runs bench until it exits. The timeout of 5 s is too short for a server on a
# busy machine.
sub bench { run_echo('bench', @_, grep({ /^-t/ } @_) ? () : '-t1m') }

# The figures of one measurement.
sub measured {
	my $run = bench(@_, '--json');
	my $m = eval { decode_json($run->{out}) };
	diag explain $run unless $m;
	return $m // {};
}

# Starts a server with one client that answers nothing during its pauses.
# Returns its process id and address.
sub pausing_server {
	my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1',
	    Listen => 5) or die $@;
	my $pid = spawn(sub {
		while (my $client = $listener->accept) {
			my $next = time + $INTERVAL;
			while (sysread $client, my $data, 65536) {
				sleep $PAUSE if time > $next;
				$next = time + $INTERVAL if time > $next;
				syswrite $client, $data;
			}
		}
	});
	return ($pid, '127.0.0.1:' . $listener->sockport);
}

subtest 'a server that pauses' => sub {
	my ($pid, $address) = pausing_server();
	my $open = measure_again(sub {
		measured($address, '-d1s', '--rate=100')
	}, sub { ($_[0]{p50_us} // 1e9) < 1e6 * $PAUSE });
	cmp_ok $open->{p90_us}, '>', 1e6 * $PAUSE / 3,
	    'a schedule shows how long the messages of a pause take';
	cmp_ok $open->{p50_us}, '<', 1e6 * $PAUSE, 'and of the others';
	my $short = 1e6 * $PAUSE / 10;
	my $closed = measure_again(sub { measured($address, '-d1s') },
	    sub { ($_[0]{p90_us} // 1e9) < $short });
	cmp_ok $closed->{p90_us}, '<', $short,
	    'without a schedule, a pause delays one message only';
	end_processes($pid);
};

my $server = start_command({ name => 'serve', listeners => 2 }, program(),
    'serve', usual_engine(), qw(-q -a tcp:127.0.0.1:0 -a udp:127.0.0.1:0));
my ($tcp, $udp) = $server->addresses;

subtest 'the rate' => sub {
	my $m = measure_again(
	    sub { measured($tcp, '-d500ms', '--rate=200', '-c3') },
	    sub { abs(($_[0]{messages_per_s} // 0) - 200) <= 50 });
	is $m->{rate}, 200, 'TCP: it is reported';
	is_between($m->{messages_per_s}, 150, 250, 'TCP: messages per second');
	is $m->{unanswered}, 0, 'TCP: all are answered';
	is $m->{bytes} % 64, 0, 'TCP: whole messages';
	$m = measured($udp, '-d500ms', '--rate=200', '-c3');
	# On a busy machine some messages leave later, or not at all.
	is_between($m->{sent} + $m->{unanswered}, 99, 120,
	    'UDP: the messages of 500 ms');
	is $m->{messages} + $m->{lost}, $m->{sent}, 'UDP: answered or lost';
	ok exists $m->{longest_loss_burst}, 'UDP: the longest burst of losses';
	$m = measured($udp, '-d100ms');
	ok !exists $m->{rate} && !exists $m->{unanswered},
	    'without a rate, no figure of a rate';
};

subtest 'one message per second' => sub {
	cmp_ok measured($_, '-d1100ms', '--rate=1', '-t700ms')->{messages},
	    '>=', 1, "$_ is not taken for silent" for $tcp, $udp;
};

subtest 'more than bench can send' => sub {
	for my $address ($tcp, $udp) {
		# A server that gets no processor answers nothing.
		my $run = measure_again(sub {
			bench($address, '-d200ms', '--rate=10000000', '--json')
		}, sub { $_[0]{status} == 0 });
		my $m = eval { decode_json($run->{out}) } // {};
		cmp_ok $m->{unanswered}, '>', 0, "$address: not all are sent";
		cmp_ok $m->{p99_us}, '>', 1000, "$address: they count";
		like $run->{err}, qr/\Aecho bench: more than 1 % of the messages left more than 1 ms late: the figures describe bench rather than \Q$address\E\n\z/,
		    "$address: a warning";
	}
};

subtest '--percentiles' => sub {
	my $run = bench($tcp, '-d300ms', '--rate=200', '--percentiles');
	my ($text) = $run->{out} =~ /^( +Value +Percentile.*)/ms;
	like $text, qr{\A +Value +Percentile +TotalCount +1/\(1-Percentile\)\n\n(?: +\d+\.\d{3} [01]\.\d{12} +\d+(?: +\d+\.\d\d)?\n)+#\[Mean    = +\d+\.\d{3}, StdDeviation   = +\d+\.\d{3}\]\n#\[Max     = +\d+\.\d{3}, Total count    = +\d+\]\n#\[Buckets = +\d+, SubBuckets     = +\d+\]\n\z},
	    'the format of HdrHistogram';
	my @rows = map { [ split ' ' ] } $text =~ /^( +\d.*)$/mg;
	is_deeply [ map { $_->[1] } @rows ],
	    [ sort { $a <=> $b } map { $_->[1] } @rows ],
	    'the percentiles ascend';
	is_deeply [ map { $_->[0] } @rows ],
	    [ sort { $a <=> $b } map { $_->[0] } @rows ], 'so do the values';
	my ($total) = $text =~ /Total count    = +(\d+)/;
	is "@{ $rows[-1] }[1, 2]", "1.000000000000 $total",
	    'the last row has all messages';
};

subtest 'a server that answers too slowly' => sub {
	my $slow = start_command({ name => 'faulty rate' }, program(),
	    qw(faulty rate=2000 -q -p0));
	my $m = measured($slow->address, '-d300ms', '--rate=1000', '-t3s');
	cmp_ok $m->{unanswered}, '>', 0, 'the run ends without all answers';
	cmp_ok $m->{p99_us}, '>', 100_000, 'what is missing counts as slow';
	$slow->stop;
	$slow = start_command({ name => 'faulty mute' }, program(),
	    qw(faulty mute -q -p0));
	my $run = bench($slow->address, '-d300ms', '--rate=100', '-t300ms');
	is $run->{status}, 5, 'a server that answers nothing: exit status';
	like $run->{err}, qr/timed out/, 'message';
	$slow->stop;
};

subtest 'losses' => sub {
	my $lossy = start_command({ name => 'faulty lose' }, program(),
	    qw(faulty lose=50 -u -q -p0));
	my $m = measure_again(sub {
		measured($lossy->address, '-d300ms', '--rate=200',
		    '--late=100ms')
	}, sub { $_[0]{lost} && $_[0]{p50_us} && $_[0]{p50_us} < 100_000 });
	is $m->{messages} + $m->{lost}, $m->{sent}, 'answered or lost';
	is_between($m->{loss_bursts}, 1, $m->{lost}, 'bursts of losses');
	is_between($m->{longest_loss_burst}, 1, $m->{lost}, 'the longest');
	cmp_ok $m->{p50_us}, '<', 100_000, 'a lost message has no latency';
	$lossy->stop;
};

subtest '--search' => sub {
	# The server answers 100 messages per second, and further messages wait.
	my $limited = start_command({ name => 'faulty rate' }, program(),
	    qw(faulty rate=6400 -q -p0));
	my $run = measure_again(sub {
		bench($limited->address, '--search', '-d100ms', '--limit=10ms',
		    '-t5s', '--json')
	}, sub { $_[0]{status} == 0 });
	my $m = eval { decode_json($run->{out}) } // { rate => 0 };
	SKIP: {
		skip 'another program has the processor', 2
		    if $run->{err} =~ /not even 1 message per second: (?:bench|the latency)/;
		is_between($m->{rate}, 1, 150, 'a server with a limit of 100');
		like $run->{err}, qr/^at \d+ per second: (?:the latency p99 exceeds the limit|bench itself does not keep to its schedule)$/,
		    'why no more';
	}
	$limited->stop;

	my $silent = start_command({ name => 'faulty' }, program(),
	    qw(faulty delay=20ms -q -p0));
	$run = bench($silent->address, '--search', '-d20ms', '--limit=1ms', '-t5s');
	is $run->{status}, 1, 'a server that is always too slow: exit status';
	like $run->{err}, qr/^echo bench: \S+: not even 1 message per second: /,
	    'message';
	$silent->stop;
};

# The server answers until after the warm-up, and then stops answering.
subtest 'Ctrl-C while a server pauses' => sub {
	my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1',
	    Listen => 5) or die $@;
	pipe my $stalls, my $write or die $!;
	my $pid = spawn(sub {
		$listener->accept;	# this one shows that a server is there
		my $client = $listener->accept;
		my $end = time + 1.3;
		while (time < $end && sysread $client, my $data, 65536) {
			syswrite $client, $data;
		}
		syswrite $write, 'x';
		sleep;
	});
	my ($bench, $out) = start_bench('127.0.0.1:' . $listener->sockport,
	    '--rate=100', '-d1m', '-t1m', '--json');
	sysread $stalls, my $byte, 1;
	my $from = time;
	wait_until(sub { time > $from + 0.3 });
	kill INT => $bench;
	my $m = decode_json(join '', readline $out);
	waitpid $bench, 0;
	is $?, 0, 'exit status';
	cmp_ok $m->{unanswered}, '>=', 20, 'messages without an answer';
	cmp_ok $m->{max_us}, '>=', 200_000, 'they count as slow';
	end_processes($pid);
};

subtest 'options' => sub {
	for (['--rate=0'], ['--rate=10000001'], ['--rate=5', '--stream'],
	    ['--rate=5', '--connect'], ['--rate=5', '-w2'],
	    ['--rate=5', '--search'], ['--search', $tcp],
	    ['--search', '--rounds=2'], ['--percentiles', '--json'],
	    ['--percentiles', $tcp]) {
		my $run = bench($tcp, @$_);
		is "$run->{status} $run->{out}", '2 ', "@$_: exit status";
	}
};

$server->stop;
done_testing;
