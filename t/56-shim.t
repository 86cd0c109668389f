# Faults that seldom occur on a system, caused by a preloaded library
# (t/shim.c): start-up calls that fail, an accept that fails, reads and writes
# that are short or fail temporarily.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Datagrams;
use EchoTest;
use IO::Select ();
use Schedule;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'a library cannot be preloaded' unless
    run_echo({ wrap => shimmed('fail=1'), forget => 1 }, 'send', '-p1',
    'x')->{err} =~ /^shim: /m;

my @ways = map { [split] } engines();

# Starts a server whose nth call of start-up fails. Either the server prints one
# line and ends, or it serves without the feature. Returns the name of the call;
# undef if the server makes fewer calls.
sub start_with_failure {
	my ($n, @way) = @_;
	my $server = start_server({ wrap => shimmed("fail=$n"), no_wait => 1 },
	    @way);
	my $said = readline($server->{out}) // '';
	my $call = sub { ($server->log =~ /^shim: fails: (\w+)$/m)[0] };
	return ended_with_failure($server, $said, $n, $call)
	    unless $said =~ /^listening on ((?:udp:)?127\.0\.0\.1:\d+)$/;
	my $address = $server->{address} = $1;
	my $back = eval { $address =~ /^udp/ ? ask(udp($address), 'alive') :
	    exchange(dial($server), 'alive', undef, half_close => 1) } // $@;
	$server->signal('TERM');
	my $status = $server->wait // 'none';
	return $call->() if $back eq 'alive' && $status eq 0;
	# A worker may fail after the server has begun to listen.
	my @lines = $server->log =~ /^(echo serve: .*)$/mg;
	return $call->() if grep({ /workers/ } @way) && $status eq 7 << 8 && @lines == 1;
	is "$back, wait status $status", 'alive, wait status 0',
	    "call $n fails and the server listens: it serves, too";
	return $call->();
}

sub ended_with_failure {
	my ($server, $said, $n, $call) = @_;
	my $status = $server->wait // 'none';
	# A process that is left would hold its end of the pipe.
	my $left = !IO::Select->new($server->{out})->can_read($DEADLINE);
	my $lines = join "\n", grep { !/^shim: / } split /\n/, $server->log;
	is "$said$status" . ($left ? ', a process is left' : ''), 7 << 8,
	    "call $n fails (" . ($call->() // 'unknown') . '): exit 7';
	like $lines, qr/\Aecho serve: [\x20-\x7e]+\z/,
	    'and one line says so';
	return $call->();
}

for my $way (@ways, [usual_engine(), '-u', '--reply-rate=9'],
    [usual_engine(), '-u', '--workers=2']) {
	subtest "@$way: each call of start-up fails once" => sub {
		my $n = 1;
		my %failed;
		while (my $call = start_with_failure($n, @$way)) {
			$failed{$call}++;
			last if ++$n > 2000;
		}
		note $n - 1, ' calls: ', join ', ', map { "$_ $failed{$_}" }
		    sort keys %failed;
		ok $failed{$_}, "$_ has failed"
		    for qw(socket bind), "@$way" =~ /-u\b/ ? 'mmap' : 'listen';
	};
}

# accept(2) fails for each reason that its manual describes as temporary: the
# server warns seldom, sleeps, and continues. (Without descriptors it may close
# a waiting client.)
my @of_connection = qw(ECONNABORTED EPROTO ENETDOWN EINTR);
my @of_system = qw(EMFILE ENFILE ENOMEM ENOBUFS EPERM);

sub start_without_accept {
	my ($fault, @way) = @_;
	my $server = start_server({ wrap => shimmed("accept=$fault") }, @way);
	$server->allow(qr/^echo serve: cannot accept, pausing: /);
	return { name => "@way: $fault", server => $server };
}

sub is_served {
	my ($server) = @_;
	for (my $until = time + $DEADLINE; time < $until;) {
		my $sock = dial($server);
		return 1 if exchange($sock, 'on', 2,
		    deadline => $until - time) eq 'on';
	}
	return 0;
}

subtest 'accept(2) fails three times' => sub {
	my @cases = map { my $way = $_; map { start_without_accept("$_:3",
	    @$way) } @of_connection, @of_system } @ways;
	dial($_->{server}) for @cases;
	for (@cases) {
		ok is_served($_->{server}), "$_->{name}: then it serves";
		$_->{server}->stop;
	}
};

subtest 'accept(2) fails always' => sub {
	my @cases = map { my $way = $_; map { start_without_accept($_, @$way)
	    } @of_system } @ways;
	my $start = time;
	my @waiting = map { dial($_->{server}) } @cases;
	my @servers = map { $_->{server} } @cases;
	$_->wait_log(qr/cannot accept/) for @servers;
	at_most(0.04 + 0.02, sub { cpu_of_busiest(2, @servers) },
	    'the servers sleep (processor seconds of the busiest)');
	for (@cases) {
		my $warnings = () = $_->{server}->log =~ /cannot accept/g;
		is_between $warnings, 1, 2 + time - $start,
		    "$_->{name}: it warns once a second at most";
		$_->{server}->stop;
	}
};

# recvmmsg(2) fails: a UDP socket pauses, and the others are served meanwhile.
sub start_without_receive {
	my ($fault, @way) = @_;
	my $server = start_server({ wrap => shimmed("receive=$fault"),
	    listeners => 2 }, @way, '--stream', '-q', '-a', 'udp:127.0.0.1',
	    '-a', 'tcp:127.0.0.1:0');
	my ($udp, $tcp) = $server->addresses;
	my $sock = udp($udp);
	send $sock, 'first', 0;
	return { name => "@way: $fault", server => $server, tcp => $tcp,
	    sock => $sock };
}

my $cannot_receive = qr/^echo serve: cannot receive datagrams, pausing: Cannot allocate memory/m;

subtest 'recvmmsg(2) fails for a moment' => sub {
	for (map { start_without_receive('ECONNREFUSED:3', @$_) } @ways) {
		is answer($_->{sock}), 'first', "$_->{name}: it is answered";
		$_->{server}->stop;	# asserts that there is no warning
	}
	my @cases = map { start_without_receive('ENOMEM:1', @$_) } @ways;
	for (@cases) {
		$_->{server}->allow($cannot_receive);
		is answer($_->{sock}), 'first',
		    "$_->{name}: it is answered after a pause";
		like $_->{server}->log, $cannot_receive,
		    "$_->{name}: it warns";
		$_->{server}->stop;
	}
};

subtest 'recvmmsg(2) fails always' => sub {
	my $start = time;
	my @cases = map { start_without_receive('ENOMEM', @$_) } @ways;
	my @servers = map { $_->{server} } @cases;
	for (@servers) {
		$_->allow($cannot_receive);
		ok $_->wait_log($cannot_receive), 'it warns';
	}
	at_most(0.04 + 0.02, sub { cpu_of_busiest(2, @servers) },
	    'the servers sleep (processor seconds of the busiest)');
	for (@cases) {
		is exchange(dial($_->{tcp}), 'on', undef, half_close => 1),
		    'on', "$_->{name}: a TCP client is served";
		my $warnings = () = $_->{server}->log =~ /cannot receive/g;
		is_between $warnings, 1, 2 + time - $start,
		    "$_->{name}: it warns once a second at most";
		$_->{server}->stop;
	}
};

for my $way (@ways) {
	subtest "@$way: a kernel without IPv6" => sub {
		my $server = start_server({ wrap => shimmed('noipv6') }, @$way,
		    '-a', '*');
		is exchange(dial('127.0.0.1:' . $server->port), 'v4', 2), 'v4',
		    'all interfaces are served';
		$server->stop;
		my $run = run_echo({ wrap => shimmed('noipv6'),
		    deadline => $DEADLINE }, 'serve', @$way, '-a', '[::1]:0');
		is $run->{status}, 7, 'an IPv6 address: exit 7';
		like $run->{err},
		    qr/\Aecho serve: [^\n]*\[::1\][^\n]*\n\z/,
		    'and one line names it';
	};
}

# Reads and writes are short, or fail temporarily, or a wait reports a
# descriptor that is not ready: no byte is lost. make torture tries thousands of
# seeds.
for my $way (@ways) {
	subtest "@$way: short reads and writes" => sub {
		for my $block (0 .. 5) {
			my $seed = $block * BLOCK;
			my ($well, $why) = schedules($seed, 16, @$way);
			is $why // '', '', "16 seeds from $seed" or
			    diag "to repeat it: t/torture @$way ",
			    $seed + $well, ' 4';
		}
	};
}

subtest 'echo send: short reads and writes' => sub {
	my $server = start_server('--select', '-q');
	my $message = pattern(50000);
	for my $seed (1 .. 20) {
		my $run = run_echo({ in => $message,
		    wrap => shimmed("seed=$seed") }, 'send', '-a',
		    $server->address);
		is $run->{status}, 0, "seed $seed: it succeeds";
		is_bytes $run->{out}, $message, "seed $seed: all comes back";
		like $run->{err}, qr/identical/, "seed $seed: it says so";
	}
	$server->stop;
};

# A server whose calls fail answers each datagram once, or counts it as dropped.
# Each seed has a server of its own, because only connections begin new seeds.
sub test_datagrams {
	my ($seed, @way) = @_;
	my $sent = 300;
	my $server = start_server({ wrap => shimmed("seed=$seed") }, @way, '-q',
	    '-a', 'udp:127.0.0.1');
	my $sock = udp($server->address);
	setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 1 << 20;
	send $sock, "datagram $_", 0 for 1 .. $sent;
	my $totals;
	wait_until(sub {
		$totals = totals($server);
		return $totals->{answered} + $totals->{dropped} >= $sent;
	});
	is $totals->{answered} + $totals->{dropped}, $sent,
	    "seed $seed: each datagram is answered or counted";
	cmp_ok $totals->{dropped}, '>', 0, "seed $seed: some fail";
	my %got;
	$got{answer($sock) // 'nothing'}++ for 1 .. $totals->{answered};
	is join(', ', grep { !/^datagram \d+$/ || $got{$_} > 1 }
	    sort keys %got), '', "seed $seed: the replies are right";
	$server->stop;
	ok !IO::Select->new($sock)->can_read(0),
	    "seed $seed: there is no other";
}

for my $way (@ways) {
	subtest "@$way: failures and short batches of datagrams" => sub {
		test_datagrams($_, @$way) for 1 .. 5;
	};
}

done_testing;
