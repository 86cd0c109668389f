# Several workers: to clients they are one server, and when a worker dies, only
# its own clients are lost.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep time);

# Connections, each of which a worker has answered.
sub connected {
	my ($server, $n) = @_;
	my @socks = map { dial($server) } 1 .. $n;
	exchange($_, 'here', 4) eq 'here' or die 'no answer' for @socks;
	return @socks;
}

# How many clients are still served; the others have been reset.
sub count_served {
	return scalar grep { exchange($_, 'still', 5) eq 'still' } @_;
}

sub all_gone {
	my @pids = @_;
	return defined wait_until(sub {
		@pids == grep { process_gone($_) } @pids
	});
}

sub has_workers {
	my ($server, $n) = @_;
	return defined wait_until(sub { $server->workers == $n });
}

sub test_killed {
	my ($engine) = @_;
	my $server = start_server($engine, '--stream', '--workers=3',
	    '--idle=0');
	my @socks = $engine eq '--blocking' ? () : connected($server, 30);
	# A worker counts bytes after it has sent them, so a worker that is
	# killed too early has not counted all bytes.
	wait_until(sub {
		my $bytes = 4 * @socks;
		$server->signal('USR1');
		return $server->wait_log(qr/^served .*\n/m) &&
		    $server->log =~ /^served \d+ clients, $bytes bytes$/m;
	});
	my @before = $server->workers;
	is scalar @before, 3, 'there are three workers';
	my $victim = $before[1];
	$server->allow(qr/^echo serve: worker $victim was killed by signal 9 /);
	kill KILL => $victim;
	ok $server->wait_log(qr/worker $victim was killed by signal 9 \(.*\), its \d+ clients? lost, another takes its place$/m),
	    'the log reports the end of a killed worker';
	my ($lost) = $server->log =~ /its (\d+) client/;
	ok has_workers($server, 3), 'another worker takes its place';
	is count_served(@socks), @socks - $lost,
	    "all clients except its own $lost are still served";
	is exchange(dial($server), 'new', undef, half_close => 1), 'new',
	    "new client $_ is served" for 1 .. 6;
	close $_ for splice @socks;

	my ($stopped) = grep { $_ != $victim } $server->workers;
	$server->allow(qr/^echo serve: worker $stopped ended with status 0, its 0 clients lost, another/);
	wait_until(sub {
		my $ended = () = $server->log =~ / closed /g;
		my $begun = () = $server->log =~ / connected$/mg;
		return $ended == $begun - $lost;
	});
	kill TERM => $stopped;
	ok $server->wait_log(qr/worker $stopped ended with status 0/),
	    'a worker that receives SIGTERM ends';
	ok has_workers($server, 3), 'another worker takes its place, too';
	$server->stop;
	my $bytes = 18 + ($engine eq '--blocking' ? 0 : 120 + 5 * (30 - $lost));
	like $server->log, qr/^served \d+ clients, $bytes bytes\n\z/m,
	    'the totals include the clients of workers that have ended';
}

sub test_replaced_soon {
	my ($engine) = @_;
	my $server = start_server($engine, '--workers=2', '-q');
	$server->allow(qr/^echo serve: worker \d+ was killed by signal 9 /);
	at_most(1, sub {
		my ($victim) = $server->workers;
		return seconds_of(sub {
			kill KILL => $victim;
			wait_until(sub {
				my @now = $server->workers;
				return @now == 2 &&
				    !grep { $_ == $victim } @now;
			});
		});
	}, 'a killed worker is replaced within a second');
	$server->stop;
}

sub test_supervisor_killed {
	my ($engine) = @_;
	my $server = start_server($engine, '--workers=2', '-q');
	my @workers = $server->workers;
	$server->signal('KILL');
	$server->wait;
	ok all_gone(@workers), 'without a supervisor the workers end';
}

# With a long pause (--gap), the server does not end clients that were only not
# scheduled.
sub test_signals {
	my ($engine) = @_;
	my @options = ($engine, '--workers=2', '--stream', '--drain=1m',
	    '--gap=1m');
	my $server = start_server(@options);
	my ($sock) = connected($server, 1);
	kill INT => $server->processes;
	ok defined wait_until(sub { refuses_connections($server) }),
	    'SIGINT to all processes, as Ctrl-C sends it, stops the server';
	is exchange($sock, 'more', 4), 'more',
	    'a client that is connected is served until its end';
	close $sock;
	$server->stop(undef);

	$server = start_server(@options);
	my @workers = $server->workers;
	($sock) = connected($server, 1);
	$server->signal('TERM');
	wait_until(sub { refuses_connections($server) });
	$server->signal('TERM');
	is $server->wait, 1 << 8, 'the second SIGTERM ends it with status 1';
	ok all_gone(@workers), 'then the workers end';
}

sub test_stopped_worker {
	my ($engine) = @_;
	at_most(8, sub {
		my $server = start_server($engine, '--workers=2', '--drain=0',
		    '-q');
		$server->allow(qr/worker \d+ was killed by signal 9/);
		kill STOP => ($server->workers)[0];
		return seconds_of(sub { $server->stop });
	}, 'a worker that is stopped by SIGSTOP is killed in the end');
}

# The limits are those of all workers together.
sub test_limits {
	my ($engine) = @_;
	my $server = start_server($engine, '--workers=3', '--count=20',
	    '--stream');
	my @clients = map { my $i = $_; spawn(sub {
		for (1 .. 5) {
			my $sock = IO::Socket::IP->new(
			    PeerHost => '127.0.0.1',
			    PeerPort => $server->port) or next;
			$sock->blocking(0);
			exchange($sock, "client $i", undef, half_close => 1);
		}
	}) } 1 .. 8;
	waitpid $_, 0 for @clients;
	$server->stop(undef);
	like $server->log, qr/^served 20 clients, 160 bytes$/m,
	    '--count=20 serves 20 of 40 clients that connect at once';

	return if $engine eq '--blocking';	# one client for each worker
	$server = start_server($engine, '--workers=3', '--max-clients=5');
	my @socks = map { dial($server) } 1 .. 12;
	put($_, 'x') for @socks;
	ok $server->wait_log(qr/received/, 5),
	    '--max-clients=5 serves five clients';
	is scalar(() = $server->log =~ /received/g), 5,
	    'and no more of twelve';
	close $_ for splice @socks;
	$server->stop;
}

for my $engine (grep { !/ / } engines()) {
	subtest "$engine: a worker ends" => sub { test_killed($engine) };
	subtest "$engine: a worker is replaced" =>
	    sub { test_replaced_soon($engine) };
	subtest "$engine: the supervisor is killed" =>
	    sub { test_supervisor_killed($engine) };
	subtest "$engine: signals" => sub { test_signals($engine) };
	subtest "$engine: a worker is stopped" =>
	    sub { test_stopped_worker($engine) };
	subtest "$engine: limits" => sub { test_limits($engine) };
}

# Each worker needs room for one client.
my ($last) = grep { !/ / } reverse engines();
my $server = start_server($last, '--workers=4', '--max-clients=2');
is scalar(my @workers = $server->workers), 2,
    'there are no more workers than clients may be connected';
$server->stop;

# --spin=20ms: 20 ms after the last activity the server sleeps.
subtest '--spin=20ms' => sub {
	my @servers = map { start_server($_, '--stream', '--spin=20ms') }
	    engines();
	my @clients = map { connected($_, 1) } @servers;
	sleep 0.1;
	at_most(0.04, sub { cpu_of_busiest(1, @servers) },
	    'idle servers sleep (processor seconds of the busiest)');
	close $_ for @clients;
	$_->stop for @servers;
};

# --spin=1m: the server does not sleep, and still notices all events.
for my $engine (engines()) {
	subtest "$engine --spin=1m" => sub {
		my $server = start_server($engine, '--stream', '--spin=1m',
		    '--idle=0');
		my ($sock) = connected($server, 1);
		my $cpu = $server->cpu;
		ok defined wait_until(sub { $server->cpu - $cpu > 0.1 }),
		    'the server does not sleep';
		is exchange($sock, 'quick', 5), 'quick',
		    'it answers its client';
		close $sock if $engine eq '--blocking';
		my $other = dial($server);
		is exchange($other, 'me too', 6), 'me too',
		    'it answers another client';
		close $_ for $sock, $other;
		$server->stop;

		$server = start_server($engine, '--stream', '--spin=1m',
		    '--idle=300ms');
		is join(' ', get_all(dial($server))), ' eof',
		    'it ends a client that sends nothing';
		$server->stop;
	};
}

done_testing;
