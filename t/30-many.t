# Many clients: no client waits for another client, or loses a byte because of
# another client.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(MSG_OOB SHUT_WR);
use Test::More;
use Time::HiRes qw(time);

# Each client writes the message and FIN, and then reads. Returns how many
# received exactly the message.
sub count_exact {
	my ($message, @socks) = @_;
	for (@socks) {
		put($_, $message);
		shutdown $_, SHUT_WR;
	}
	return scalar grep { join('', get_all($_)) eq "${message}eof" } @socks;
}

# Connects 200 clients. At least one of several tries must take less than the
# time after which a SYN is sent again (1 s).
sub connect_200 {
	my ($server) = @_;
	my @socks;
	at_most(0.9, sub {
		@socks = ();
		return seconds_of(sub {
			@socks = map { dial($server) } 1 .. 200
		});
	}, '200 clients connect without a retransmission');
	return @socks;
}

for my $engine (engines()) {
	for my $size (5, 65536) {
		subtest "$engine: 200 clients with $size bytes each" => sub {
			my $server = start_server($engine, '--stream');
			is count_exact(pattern($size), connect_200($server)),
			    200, 'all bytes come back, with FIN right ' .
			    'behind them';
			$server->stop;
		};
	}
}

for my $engine (parallel_engines()) {
	subtest "$engine: several messages on one connection" => sub {
		my $server = start_server($engine);
		my $silent = dial($server);
		my $talker = dial($server);
		for my $message ("one\n", "two\n", 'x' x 100000, "four\n") {
			is_bytes scalar exchange($talker, $message,
			    length $message), $message,
			    length($message) . ' bytes come back while ' .
			    'another client is silent';
		}
		is exchange($silent, 'now', 3), 'now',
		    'the silent client is then served';
		close $_ for $silent, $talker;
		$server->stop;
	};
}

# telnet(1) sends an urgent byte for ^C. The server echoes it like any other.
for my $engine (engines()) {
	subtest "$engine: an urgent byte" => sub {
		my $server = start_server($engine, '--stream');
		my $sock = dial($server);
		put($sock, 'abc');
		send $sock, 'U', MSG_OOB;
		is exchange($sock, 'def', undef, half_close => 1), 'abcUdef',
		    'it comes back in its place';
		$server->stop;
	};
}

# With reads of one byte, too, a busy client does not delay other clients.
for my $engine (parallel_engines()) {
	subtest "$engine --chunk=1: clients that write without end" => sub {
		my $server = start_server($engine, '--chunk=1', '-q');
		my $other = dial($server);
		my @floods = map { flood($server) } 1 .. 4;
		at_most(0.25, sub {
			median(map { seconds_of(sub {
				exchange($other, 'x', 1)
			}) } 1 .. 11);
		}, 'another client is answered within 250 ms (median)');
		end_processes(@floods);
		$server->stop;
	};
}

# Lets each process that serves read a full chunk into its buffer, so that the
# pages of the buffer are not counted for a later client. The processes are
# stopped while the chunk is sent, so that one read returns the whole chunk.
sub use_buffers {
	my ($server) = @_;
	my @serving = $server->workers;
	@serving = $server->pid unless @serving;
	my %before = map { $_ => descriptors_of($_) // return } @serving;
	my @socks;
	do {
		push @socks, dial($server);
		exchange($socks[-1], pattern(1 << 20), 1 << 20);
	} while @socks < 64 && grep { descriptors_of($_) <= $before{$_} }
	    @serving;
	kill STOP => @serving;
	put($_, pattern(100_000)) for @socks;
	kill CONT => @serving;
	get($_, 100_000) for @socks;
}

# The server stops reading from clients that read nothing, keeps at most one
# chunk for each of them, and continues to serve other clients. Four such
# clients show a second chunk more clearly than one client, because the
# allocator may have kept a free chunk.
for my $engine (parallel_engines()) {
	subtest "$engine: four clients that write and do not read" => sub {
		my $server = start_server($engine, '-q');
		use_buffers($server);
		my ($other, @greedy) = map { dial($server) } 0 .. 4;
		exchange($_, 'warm up', 7) for $other, @greedy;
		my $before = $server->memory;
		my $block = pattern(1 << 20);
		my $start = time;
		my @sent = map { fill($_, $block, 0.3) } @greedy;
		$sent[0] = fill($greedy[0], $block, 1, $sent[0]);
		cmp_ok time - $start, '<', $DEADLINE,
		    "the server stops reading after @sent bytes";
		SKIP: {
			skip 'memory is read from /proc', 1
			    unless defined $before;
			skip 'a sanitizer keeps memory of its own', 1
			    if sanitized();
			cmp_ok $server->memory - $before, '<=', 5 * 65536,
			    'it keeps one chunk for each, and 64 KiB';
		}
		at_most(0.05, sub {
			median(map { seconds_of(sub {
				exchange($other, 'hello', 5)
			}) } 1 .. 21);
		}, 'another client is answered within 50 ms (median)');
		is_bytes scalar get($greedy[$_], $sent[$_]),
		    pattern_at($block, 0, $sent[$_]),
		    'all comes back when a client reads' for 0 .. $#greedy;
		close $_ for @greedy, $other;
		$server->stop;
	};
}

# select(2) has room for descriptors below FD_SETSIZE (1024). Further clients
# wait in the kernel's queue until others leave, even if the system permits more
# descriptors. Several processes hold the clients, because each of these
# processes may also have only 1024 descriptors.
sub test_fd_setsize {
	my ($limit) = @_;
	my $server = start_server({ wrap => [ 'sh', '-c',
	    "ulimit -n $limit; exec \"\$\@\"", 'sh' ] }, '--select',
	    '--idle=0');
	my $idle = $server->descriptors;
	exchange(dial($server), 'x', 1);
	$server->wait_log(qr/ closed /);
	wait_until(sub { $server->descriptors <= $idle });
	my $fit = 1024 - $server->descriptors;
	my @holders = map { hold_clients($server, $_, 220) } 1 .. 5;
	is join('', map { reply($_) } @holders), "ready\n" x 5,
	    '1100 clients connect';
	my $served = sub { scalar(() = $server->log =~ / received \d\d/g) };
	$server->wait_log(qr/ received \d\d/, $fit);
	is $served->(), $fit, "$fit of them are served at once";
	at_most(0.1, sub {
		my $cpu = $server->cpu;
		select undef, undef, undef, 0.5;
		return $server->cpu - $cpu;
	}, 'the server sleeps while the others wait (processor seconds)');
	print { $_->{to} } "go\n" for @holders;
	is join('', map { reply($_) } @holders), "220 exact\n" x 5,
	    'all are served when others leave';
	waitpid $_->{pid}, 0 for @holders;
	$server->stop;
}

for my $limit (1024, 4096) {
	subtest "--select with a limit of $limit descriptors" => sub {
		chomp(my $hard = `sh -c 'ulimit -Hn'`);
		plan skip_all =>
		    "the server needs $limit descriptors, may have $hard"
		    if $hard ne 'unlimited' && $hard < $limit;
		chomp(my $queue = eval { slurp('/proc/sys/net/core/somaxconn') }
		    // 0);
		plan skip_all => "the kernel's queue holds only $queue"
		    if $queue < 200;
		test_fd_setsize($limit);
	};
}

# A process that connects n clients. Each sends a text of its own and, after a
# line on {to}, reads the answer.
sub hold_clients {
	my ($server, $name, $n) = @_;
	pipe my $commands, my $to or die $!;
	pipe my $from, my $replies or die $!;
	$replies->autoflush(1);
	my $pid = spawn(sub {
		my @socks = map { dial($server) } 1 .. $n;
		put($socks[$_], "client $name.$_\n") for 0 .. $#socks;
		print $replies "ready\n";
		readline $commands;
		my $exact = 0;
		for (0 .. $#socks) {
			my $text = "client $name.$_\n";
			$exact++ if get($socks[$_], length $text) eq $text;
			close $socks[$_];
		}
		print $replies "$exact exact\n";
	});
	$to->autoflush(1);
	return { pid => $pid, to => $to, from => $from };
}

sub reply {
	my ($holder) = @_;
	IO::Select->new($holder->{from})->can_read(4 * $DEADLINE) or
	    return 'late';
	return readline($holder->{from}) // 'gone';
}

# Limits that the user sets. The order of the log lines shows which client
# waited for which.
for my $engine (parallel_engines()) {
	subtest "$engine --max-clients=2" => sub {
		my $server = start_server($engine, '--max-clients=2');
		my @socks = map { dial($server) } 1 .. 3;
		put($_, 'here') for @socks;
		my @ports = map { $_->sockport } @socks;
		get($socks[1], 4);
		close $socks[0];
		is get($socks[2], 4), 'here', 'the third client is served';
		like $server->log,
		    qr/:$ports[0] closed.*:$ports[2] connected/s,
		    'it was accepted after the first had left';
		close $_ for @socks;
		$server->stop;
	};
}

for my $engine (engines()) {
	subtest "$engine --count" => sub {
		my $server = start_server($engine, '--stream', '--count=3');
		is count_exact('abc', dial($server)), 1,
		    "client $_ of --count=3 is served" for 1 .. 3;
		$server->stop(undef);
		like $server->log, qr/^served 3 clients, 9 bytes$/m,
		    'after the third client the server ends';

		$server = start_server($engine, '--stream', '--count=1');
		my $last = dial($server);
		$server->wait_log(qr/connected/);
		ok refuses_connections($server),
		    'while the last client is served no other can connect';
		close $last;
		$server->stop(undef);
	};
}

for my $engine (engines()) {
	subtest "$engine with two addresses" => sub {
		my $server = start_server({ listeners => 2 }, $engine,
		    '-a', '127.0.0.1', '-a', '127.0.0.2');
		for my $address ($server->addresses, $server->addresses) {
			is exchange(dial($address), 'x' x 20, undef,
			    half_close => 1), 'x' x 20,
			    "$address is served";
		}
		$server->stop;
	};
}

done_testing;
