# Many clients: none waits for another, none costs another a byte.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(MSG_OOB SHUT_WR);
use Test::More;
use Time::HiRes qw(time);

my @parallel = grep { $_ ne '--blocking' } engines();

# Several exchanges side by side in this one process: each client writes its
# message and reads; returns how many had exactly it back.
sub all_exact {
	my ($message, @socks) = @_;
	for (@socks) {
		put($_, $message);
		shutdown $_, SHUT_WR;
	}
	return scalar grep { join('', get_all($_)) eq "${message}eof" } @socks;
}

for my $engine (engines()) {
	for my $size (5, 65536) {
		my $server = start_server($engine, '--stream');
		my $start = time;
		my @socks = map { dial($server) } 1 .. 200;
		my $connected = time - $start;
		cmp_ok $connected, '<', 0.9,
		    "$engine: none of 200 connects waits for a retransmission";
		is all_exact(pattern($size), @socks), 200,
		    "$engine: 200 of 200 with FIN right behind $size bytes";
		$server->stop;
	}
}

for my $engine (@parallel) {
	my $server = start_server($engine);
	my $silent = dial($server);
	my $talker = dial($server);
	for my $message ("one\n", "two\n", 'x' x 100000, "four\n") {
		is exchange($talker, $message, length $message), $message,
		    "$engine: several messages on one connection, while " .
		    'another client is silent';
	}
	is exchange($silent, 'now', 3), 'now', "$engine: which is served too";
	close $_ for $silent, $talker;
	$server->stop;
}

# Urgent bytes (telnet sends them at ^C) are bytes.
for my $engine (engines()) {
	my $server = start_server($engine, '--stream');
	my $sock = dial($server);
	put($sock, 'abc');
	send $sock, 'U', MSG_OOB;
	is exchange($sock, 'def', undef, half_close => 1), 'abcUdef',
	    "$engine: an urgent byte comes back in its place";
	$server->stop;
}

# With small reads a busy client does not keep the others waiting either.
for my $engine (@parallel) {
	my $server = start_server($engine, '--chunk=1', '-q');
	my $other = dial($server);
	my @floods = map {
		my $sock = dial($server);
		$sock->blocking(1);
		my $block = 'x' x 65536;
		map { spawn($_) } sub { 1 while syswrite $sock, $block },
		    sub { 1 while sysread $sock, $block, 65536 };
	} 1 .. 4;
	my @took;
	for (1 .. 11) {
		my $start = time;
		exchange($other, 'x', 1);
		push @took, time - $start;
	}
	cmp_ok((sort { $a <=> $b } @took)[5], '<', 0.25,
	    "$engine: --chunk=1: four floods, and another is answered");
	kill KILL => @floods;
	waitpid $_, 0 for @floods;
	$server->stop;
}

# A client that writes and does not read: its input is no longer taken, at
# most one chunk of it is kept, and nobody waits for it.
for my $engine (@parallel) {
	my $server = start_server($engine, '-q');
	my ($other, $greedy) = (dial($server), dial($server));
	exchange($_, 'warm up', 7) for $other, $greedy;
	my $before = $server->memory;
	my $block = pattern(1 << 20);
	my $sent = 0;
	my $until = time + $DEADLINE;
	while (IO::Select->new($greedy)->can_write(1) && time < $until) {
		my $n = syswrite($greedy, $block, 1 << 20, $sent % (1 << 20));
		$sent += $n // 0;
	}
	cmp_ok time, '<', $until, "$engine: a client that reads nothing is " .
	    "no longer read from (after $sent bytes)";
	SKIP: {
		skip 'memory is told by /proc', 1 unless defined $before;
		skip 'a sanitizer keeps memory of its own', 1
		    if sanitized();
		cmp_ok $server->memory - $before, '<=', 65536 + 65536,
		    "$engine: and costs one chunk of memory";
	}
	my @took;
	for (1 .. 21) {
		my $start = time;
		exchange($other, 'hello', 5);
		push @took, time - $start;
	}
	cmp_ok((sort { $a <=> $b } @took)[10], '<', 0.05,
	    "$engine: another is answered within 50 ms");
	my $back = get($greedy, $sent);
	my $whole = $block x (1 + $sent / (1 << 20));
	ok $back eq substr($whole, 0, $sent),
	    "$engine: when it reads at last, all comes back";
	close $_ for $greedy, $other;
	$server->stop;
}

# select(2) has room for descriptors below FD_SETSIZE (1024): those beyond wait
# in the kernel's queue until others leave, whatever the system would allow.
# Several processes hold the clients, for each may have 1024 descriptors too.
for my $limit (1024, 4096) {
	SKIP: {
		chomp(my $hard = `sh -c 'ulimit -Hn'`);
		skip "the server needs $limit descriptors, may have $hard", 4
		    if $hard ne 'unlimited' && $hard < $limit;
		chomp(my $queue = eval { slurp('/proc/sys/net/core/somaxconn') }
		    // 0);
		skip "the kernel's queue holds only $queue", 4 if $queue < 200;
		my $server = start_server({ wrap => [ 'sh', '-c',
		    "ulimit -n $limit; exec \"\$\@\"", 'sh' ] }, '--select');
		exchange(dial($server), 'x', 1);
		$server->wait_log(qr/ closed /);
		my $fit = 1024 - $server->descriptors;
		my @holders = map { hold_clients($server, $_, 220) } 1 .. 5;
		is join('', map { reply($_) } @holders), "ready\n" x 5,
		    "$limit descriptors: 1100 clients connect";
		my $served = sub {
			scalar(() = $server->log =~ / received \d\d/g)
		};
		$server->wait_log(qr/ received \d\d/, $fit);
		is $served->(), $fit, "of whom $fit are served at once";
		my $cpu = $server->cpu;
		select undef, undef, undef, 0.5;
		cmp_ok $server->cpu - $cpu, '<', 0.1,
		    'while the server sleeps, not spins';
		print { $_->{to} } "go\n" for @holders;
		is join('', map { reply($_) } @holders), "220 exact\n" x 5,
		    'and all, once those before them leave';
		waitpid $_->{pid}, 0 for @holders;
		$server->stop;
	}
}

# A process that connects n clients, each writing a text of its own, and when
# told so reads their answers.
sub hold_clients {
	my ($server, $name, $n) = @_;
	pipe my $hear, my $to or die $!;
	pipe my $from, my $tell or die $!;
	$tell->autoflush(1);
	my $pid = spawn(sub {
		my @socks = map { dial($server) } 1 .. $n;
		put($socks[$_], "client $name.$_\n") for 0 .. $#socks;
		print $tell "ready\n";
		readline $hear;
		my $exact = 0;
		for (0 .. $#socks) {
			my $text = "client $name.$_\n";
			$exact++ if get($socks[$_], length $text) eq $text;
			close $socks[$_];
		}
		print $tell "$exact exact\n";
	});
	$to->autoflush(1);
	return { pid => $pid, to => $to, from => $from };
}

sub reply {
	my ($holder) = @_;
	IO::Select->new($holder->{from})->can_read(4 * $DEADLINE) or return 'late';
	return readline($holder->{from}) // 'gone';
}

# Limits that the user sets. The order of the log tells who waited for whom.
for my $engine (@parallel) {
	my $server = start_server($engine, '--max-clients=2');
	my @socks = map { dial($server) } 1 .. 3;
	put($_, 'here') for @socks;
	my @ports = map { $_->sockport } @socks;
	get($socks[1], 4);
	close $socks[0];
	is get($socks[2], 4), 'here', "$engine: the third of two is served";
	my $log = $server->log;
	like $log, qr/:$ports[0] closed.*:$ports[2] connected/s,
	    "$engine: when the first has left";
	close $_ for @socks;
	$server->stop;
}

for my $engine (engines()) {
	my $server = start_server($engine, '--stream', '--count=3');
	is all_exact('abc', dial($server)), 1, "$engine: $_ of --count=3"
	    for 1 .. 3;
	$server->stop(undef);
	like $server->log, qr/^served 3 clients, 9 bytes$/m,
	    "$engine: after which it stops by itself";

	$server = start_server($engine, '--stream', '--count=1');
	my $last = dial($server);
	$server->wait_log(qr/connected/);
	ok !IO::Socket::IP->new(PeerHost => '127.0.0.1',
	    PeerPort => $server->port, Timeout => $DEADLINE),
	    "$engine: beyond --count nobody is let in to wait";
	close $last;
	$server->stop(undef);
}

# Several addresses: each is served, also when another is busy.
for my $engine (engines()) {
	my $server = start_server({ listeners => 2 }, $engine, '-a', '127.0.0.1',
	    '-a', '127.0.0.2');
	for my $address ($server->addresses, $server->addresses) {
		is exchange(dial($address), 'x' x 20, undef, half_close => 1),
		    'x' x 20, "$engine: $address";
	}
	$server->stop;
}

done_testing;
