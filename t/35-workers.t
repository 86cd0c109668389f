# Several workers: one server to all who look at it from outside, and a worker
# that dies takes nobody with it but its own clients.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep time);

# Connections, each answered once, so each is with a worker.
sub connected {
	my ($server, $n) = @_;
	my @socks = map { dial($server) } 1 .. $n;
	exchange($_, 'here', 4) eq 'here' or die 'no answer' for @socks;
	return @socks;
}

# How many of them are served, the others having been cut off.
sub served {
	return scalar grep { exchange($_, 'still', 5) eq 'still' } @_;
}

for my $engine (grep { !/ / } engines()) {
	# One dies.
	my $server = start_server($engine, '--stream', '--workers=3',
	    '--idle=0');
	wait_until(sub { $server->workers == 3 });
	my @socks = $engine eq '--blocking' ? () : connected($server, 30);
	my @before = $server->workers;
	is scalar @before, 3, "$engine: three workers";
	my $victim = $before[1];
	$server->allow(qr/^echo serve: worker $victim was killed by signal 9 /);
	kill KILL => $victim;
	ok $server->wait_log(qr/worker $victim was killed by signal 9 \(.*\), its \d+ clients? lost, another takes its place$/m),
	    "$engine: kill -9 of one is told";
	my ($lost) = $server->log =~ /its (\d+) client/;
	my $took = wait_until(sub { $server->workers == 3 });
	cmp_ok $took, '<', 1, "$engine: it is replaced within a second";
	is served(@socks), @socks - $lost, "$engine: all but its own $lost " .
	    'clients are served on';
	is exchange(dial($server), 'new', undef, half_close => 1), 'new',
	    "$engine: and new ones" for 1 .. 6;
	close $_ for splice @socks;

	# One is told to stop, and is replaced; the server goes on.
	my ($stopped) = grep { $_ != $victim } $server->workers;
	$server->allow(qr/^echo serve: worker $stopped ended with status 0, its 0 clients lost, another/);
	kill TERM => $stopped;
	ok $server->wait_log(qr/worker $stopped ended with status 0/),
	    "$engine: one that is told to stop does";
	ok defined wait_until(sub { $server->workers == 3 }),
	    "$engine: and is replaced";
	$server->stop;
	my $bytes = 18 + ($engine eq '--blocking' ? 0 : 120 + 5 * (30 - $lost));
	like $server->log, qr/^served \d+ clients, $bytes bytes$/m,
	    "$engine: the totals are of all, those of the dead too";

	# The supervisor dies.
	$server = start_server($engine, '--workers=2', '-q');
	wait_until(sub { $server->workers == 2 });
	my @workers = $server->workers;
	$server->signal('KILL');
	$server->wait;
	ok defined wait_until(sub { 2 == grep { process_gone($_) } @workers }),
	    "$engine: without a supervisor no worker stays";

	# A signal that reaches all of them, as Ctrl-C does, is one signal.
	$server = start_server($engine, '--workers=2', '--stream');
	wait_until(sub { $server->workers == 2 });
	my ($sock) = connected($server, 1);
	kill INT => $server->pid, $server->workers;
	ok wait_until(sub { refuses_connections($server) }),
	    "$engine: Ctrl-C: nobody new";
	is exchange($sock, 'more', 4), 'more',
	    "$engine: Ctrl-C: who is under way goes on";
	close $sock;
	$server->stop(undef);

	# A second one does not wait, for any of them.
	$server = start_server($engine, '--workers=2', '--stream',
	    '--drain=1m', '--gap=1m');
	wait_until(sub { $server->workers == 2 });
	@workers = $server->workers;
	($sock) = connected($server, 1);
	$server->signal('TERM');
	wait_until(sub { refuses_connections($server) });
	$server->signal('TERM');
	is $server->wait, 1 << 8, "$engine: the second TERM: status 1";
	ok defined wait_until(sub { 2 == grep { process_gone($_) } @workers }),
	    "$engine: and no worker stays";

	# One that is stopped for good does not keep the server from ending.
	$server = start_server($engine, '--workers=2', '--drain=0', '-q');
	$server->allow(qr/worker \d+ was killed by signal 9/);
	wait_until(sub { $server->workers == 2 });
	kill STOP => ($server->workers)[0];
	my $start = time;
	$server->stop;
	cmp_ok time - $start, '<', 8,
	    "$engine: a stopped worker is killed in the end";

	# Limits are those of the whole.
	$server = start_server($engine, '--workers=3', '--count=20',
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
	    "$engine: --count=20 of 40 who come at once";

	next if $engine eq '--blocking';	# has a limit of its own
	$server = start_server($engine, '--workers=3', '--max-clients=5');
	@socks = map { dial($server) } 1 .. 12;
	put($_, 'x') for @socks;
	ok $server->wait_log(qr/received/, 5),
	    "$engine: --max-clients=5: five are served";
	is scalar(() = $server->log =~ /received/g), 5,
	    "$engine: and no more of twelve";
	close $_ for splice @socks, 0, 12;
	$server->stop;
}

# More workers than clients that may be there: each has room for one.
my ($last) = grep { !/ / } reverse engines();
my $server = start_server($last, '--workers=4', '--max-clients=2');
is scalar(grep { defined } wait_until(sub { $server->workers == 2 })), 1,
    'no more workers than clients';
$server->stop;

# Spinning ends when nothing has happened for so long, and hears signals.
for my $engine (engines()) {
	my $server = start_server($engine, '--stream', '--spin=20ms');
	my ($sock) = connected($server, 1);
	sleep 0.1;
	my $cpu = $server->cpu;
	sleep 1;
	cmp_ok $server->cpu - $cpu, '<=', 0.04,
	    "$engine: --spin=20ms: idle, it sleeps";
	close $sock;
	$server->stop;

	$server = start_server($engine, '--stream', '--spin=1m');
	($sock) = connected($server, 1);
	$cpu = $server->cpu;
	ok defined wait_until(sub { $server->cpu - $cpu > 0.1 }),
	    "$engine: --spin=1m: it does not sleep";
	is exchange($sock, 'quick', 5), 'quick', "$engine: and answers";
	my $other = dial($server);
	is exchange($other, 'me too', 6), 'me too',
	    "$engine: others as well, though one is asked again and again";
	close $_ for $sock, $other;
	$server->stop;
}

done_testing;
