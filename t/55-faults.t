# Faults of clients and of the machine that only many repetitions show: a
# thousand resets, ten connections that end while input arrives, many clients
# that are stopped. (t/50-rough.t tests single faults.) ECHO_TORTURE=1 repeats
# more often.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use IO::Select;
use List::Util qw(min);
use POSIX qw(:sys_wait_h);
use Socket qw(AF_INET IPPROTO_TCP TCP_NODELAY);
use Test::More;
use Time::HiRes qw(sleep time);

# The end of file directly after the data, one client after another.
for my $engine (engines()) {
	subtest "$engine: FIN right behind the data, 1000 times" => sub {
		my $server = start_server($engine, '--stream', '--chunk=64k',
		    '-q');
		for my $message (pattern(5), pattern(65536)) {
			my $exact = grep { join('', exchange(dial($server),
			    $message, undef, half_close => 1)) eq
			    "${message}eof" } 1 .. 1000;
			is $exact, 1000, 'all of ' . length($message) .
			    ' bytes come back each time';
		}
		$server->stop;
	};
}

# Ten messages byte by byte. Without TCP_NODELAY, Nagle's algorithm and delayed
# ACKs together would cause delays of 40 ms, but only seldom.
for my $engine (engines_but('--select')) {
	for my $chunk (1, 65536) {
		subtest "$engine --chunk=$chunk: byte by byte" =>
		    sub { test_byte_by_byte($engine, $chunk) };
	}
}

sub test_byte_by_byte {
	my ($engine, $chunk) = @_;
	my $server = start_server($engine, '--stream', "--chunk=$chunk");
	# On an idle machine the p99 is below 5 ms in one of three tries. On a
	# busy machine only the median shows something about the server.
	my @runs;
	measure_again(sub {
		push @runs, byte_by_byte($server);
		return $runs[-1];
	}, sub { !$_[0]{exact} || $_[0]{p99} < 0.005 ||
	    @runs >= 3 && $_[0]{p50} < 0.03 });
	is scalar(grep { !$_->{exact} } @runs), 0, 'all bytes come back';
	cmp_ok min(map { $_->{p50} } @runs), '<', 0.03,
	    sprintf 'ten bytes do not wait for a delayed ACK (p99 %.1f ms)',
	    1000 * min(map { $_->{p99} } @runs);
	SKIP: {
		my $sock = dial($server);
		exchange($sock, 'x', 1);
		my $its = server_socket($server, $sock->sockport);
		skip 'pidfd_getfd(2) is not available', 1 unless $its;
		ok unpack('i', getsockopt $its, IPPROTO_TCP, TCP_NODELAY),
		    'the connection has TCP_NODELAY';
	}
	$server->stop;
}

sub byte_by_byte {
	my ($server) = @_;
	my $sock = dial($server);
	my ($sent, $back) = ('', '');
	my @took = sort { $a <=> $b } map {
		my $ten = join '', map { chr 32 + rand 90 } 1 .. 10;
		$sent .= $ten;
		seconds_of(sub {
			$back .= exchange($sock, $ten, 10, piece => 1,
			    take => 1);
		});
	} 1 .. 300;
	return { exact => $back eq $sent, p50 => $took[150],
	    p99 => $took[297] };
}

# A copy of the server's socket that is connected to a port of ours.
sub server_socket {
	my ($server, $port) = @_;
	# Numbers of system calls since Linux 5.3 are the same everywhere.
	my ($pidfd_open, $pidfd_getfd) = (434, 438);
	for my $pid ($server->processes) {
		my $process = syscall $pidfd_open, 0 + $pid, 0;
		next if $process < 0;
		opendir my $d, "/proc/$pid/fd" or next;
		for my $fd (grep { /^\d+$/ } readdir $d) {
			my $copy = syscall $pidfd_getfd, $process, 0 + $fd,
			    0;
			next if $copy < 0;
			open my $sock, '+<&=', $copy or next;
			my $peer = getpeername $sock or next;
			next if Socket::sockaddr_family($peer) != AF_INET;
			return $sock
			    if (Socket::unpack_sockaddr_in($peer))[0] == $port;
		}
		POSIX::close($process);
	}
	return;
}

# Resets during a transfer.
for my $engine (engines()) {
	subtest "$engine: 1000 resets" => sub {
		my $server = start_server($engine, '-q');
		my $before = $server->descriptors;
		my $block = 'y' x 50000;
		for (1 .. 1000) {
			my $victim = dial($server);
			syswrite $victim, $block;
			reset_connection($victim);
		}
		is exchange(dial($server), 'alive', undef, half_close => 1),
		    'alive', 'the server goes on';
		SKIP: {
			skip 'descriptors are counted in /proc', 1
			    unless defined $before;
			wait_until(sub { $server->descriptors == $before });
			is $server->descriptors, $before,
			    'it has closed the descriptors of all';
		}
		$server->stop;
	};
}

# The server ends a connection while input arrives: the client reads all pending
# output and then an end of file, at whatever time its next bytes arrive. Ten
# servers for each kind of end, all at the same time.
{
	my %ends = (
		'--gap' => { options => ['--message', '--gap=200ms',
		    '--idle=0'], size => 1000, pause => 0.2 },
		'--idle' => { options => ['--stream', '--idle=200ms'],
		    size => 1000, pause => 0.2 },
		# This client reads less than it writes, so that much output
		# is pending.
		SIGTERM => { options => ['--stream', '--drain=2s',
		    '--chunk=64k'], size => 65536, pause => 0, take => 32768,
		    signal => 1 }
	);
	my @all;
	for my $engine (engines()) {
		for my $how (sort keys %ends) {
			push @all, map { +{
				name => "$engine: $how",
				server => start_server($engine,
				    @{ $ends{$how}{options} }),
				%{ $ends{$how} },
				exact => 1, next => 0
			} } 1 .. 10;
		}
	}
	my $block = pattern(65536 + 4);
	my $twice = $block x 2;
	for (@all) {
		$_->{sock} = dial($_->{server});
		$_->{server}->wait_log(qr/connected/);
		# The connection is in use when its end comes, except on a
		# busy machine, where --idle may have ended it before.
		$_->{sent} = 4;
		$_->{back} = length exchange($_->{sock},
		    substr($block, 0, 4), 4);
	}
	my $until = time + 2 * $DEADLINE;
	while (time < $until && (my @going = grep { !$_->{end} } @all)) {
		write_and_read($_, $block, $twice) for @going;
		sleep 0.001;
	}
	my %wrong = map { $_->{name} => [] } @all;
	for (@all) {
		my ($server, $n) = @$_{qw(server back)};
		$server->stop($_->{signal} ? undef : 'TERM');
		my $all = $server->log =~ /closed after $n bytes?,/;
		my $end = $_->{end} // 'late';
		push @{ $wrong{$_->{name}} }, "$n of $_->{sent} bytes, $end",
		    $server->log
		    unless $all && $_->{exact} && $end eq 'eof';
	}
	is join("\n", @{ $wrong{$_} }), '', "$_ while input comes: ten " .
	    'clients read all pending output, then an end of file'
	    for sort keys %wrong;
}

# One step of a client that goes on writing after the server's end of file.
sub write_and_read {
	my ($c, $block, $twice) = @_;
	if ($c->{signal} && $c->{sent} > 1 << 20 && !$c->{signalled}++) {
		$c->{server}->signal('TERM');
	}
	if (time >= $c->{next}) {
		my $at = $c->{sent} % length $block;
		my $n = syswrite $c->{sock}, $block,
		    $at + $c->{size} > length $block ? length($block) - $at :
		    $c->{size}, $at;
		$c->{sent} += $n // 0;
		$c->{next} = time + $c->{pause} * (0.7 + rand 0.6);
	}
	my $n = sysread $c->{sock}, my $came, $c->{take} // 65536;
	if ($n) {
		my $at = $c->{back} % length $block;
		$c->{exact} &&= $came eq substr $twice, $at, $n;
		$c->{back} += $n;
	}
	$c->{end} = 'eof' if defined $n && $n == 0;
	$c->{end} = "$!" if !defined $n && !$!{EAGAIN};
	close $c->{sock} if $c->{end};
}

# No free descriptor and no client that could leave: the server closes a few
# waiting clients, sleeps, and serves when there are descriptors again. (The
# limit is that of one process: several workers are several such servers.)
sub test_no_descriptor {
	my ($case, $start) = @_;
	my $server = $case->{server};
	is_between scalar(() = $server->log =~ /Too many/g), 1,
	    2 + time - $start, 'it warns once a second at most';
	is_between scalar(grep { IO::Select->new($_)->can_read(0) }
	    @{ $case->{socks} }), 1, 10, 'it closes few of 20 clients';
	at_most(1, sub {
		@{ $case->{socks} } = ();
		$server->limit_descriptors(64);
		my $took = seconds_of(sub {
			exchange(dial($server), 'back', 4) eq 'back' or
			    die 'no answer'
		});
		take_descriptors($case) if $took > 1;
		return $took;
	}, 'when there are descriptors again it serves within a second');
	$server->stop;
}

sub take_descriptors {
	my ($case) = @_;
	my $server = $case->{server};
	$server->limit_descriptors($case->{most}) or return 0;
	$case->{socks} = [ map { dial($server) } 1 .. 20 ];
	return 1;
}

# The descriptor that a server would get next; undef where /proc is missing.
sub first_free {
	my ($server) = @_;
	my $fd = 0;
	return undef unless defined $server->descriptors;
	$fd++ while -l '/proc/' . $server->pid . "/fd/$fd";
	return $fd;
}

SKIP: {
	my @cases = map { { engine => $_, server => start_server($_) } }
	    grep { !/ / } engines();
	my $start = time;
	for (@cases) {
		$_->{most} = first_free($_->{server});
		next if defined $_->{most} && take_descriptors($_);
		$_->{server}->stop for @cases;
		skip 'descriptors cannot be limited by prlimit(1)', 1;
	}
	my @servers = map { $_->{server} } @cases;
	$_->allow(qr/^echo serve: cannot accept, pausing/) for @servers;
	$_->wait_log(qr/Too many open/) for @servers;
	at_most(0.04 + 0.02, sub { cpu_of_busiest(2, @servers) },
	    'without free descriptors a server sleeps (processor seconds)');
	for my $case (@cases) {
		subtest "$case->{engine}: no client and no free descriptor" =>
		    sub { test_no_descriptor($case, $start) };
	}
}

# Clients are stopped while more output is pending than their sockets hold.
sub test_stopped_clients {
	my ($engine) = @_;
	my $server = start_server($engine, '-q', '--idle=0');
	my $many = $ENV{ECHO_TORTURE} ? 50 : 15;
	my @clients = map { stopping_client($server) } 1 .. $many;
	is scalar(grep { waitpid($_, WUNTRACED) == $_ } @clients), $many,
	    "$many clients are stopped";
	my $other = dial($server);
	at_most(0.05, sub {
		median(map { seconds_of(sub { exchange($other, 'hello', 5) }) }
		    1 .. 21);
	}, 'another client is answered within 50 ms (median)');
	kill CONT => @clients;
	is scalar(grep { waitpid($_, 0) == $_ && $? == 0 } @clients), $many,
	    'each reads all its bytes when it goes on';
	close $other;
	$server->stop;
}

# A client in a separate process. It writes more than a socket holds, stops
# itself, and reads when it continues.
sub stopping_client {
	my ($server) = @_;
	return spawn(sub {
		my $block = pattern(65536);
		my $sock = dial($server);
		my $sent = 0;
		while ($sent < 6 << 20 &&
		    IO::Select->new($sock)->can_write(0.1)) {
			my $at = $sent % length $block;
			$sent += syswrite $sock, $block, length($block) - $at,
			    $at;
		}
		kill STOP => $$;
		my $back = exchange($sock, '', $sent);
		$back eq pattern_at($block, 0, $sent) or die "differs\n";
	});
}

for my $engine (parallel_engines()) {
	subtest "$engine: stopped clients" =>
	    sub { test_stopped_clients($engine) };
}

# Lines of 64 KiB that would drive a terminal, and random bytes.
for my $engine (engines_but('--select', '--uring')) {
	subtest "$engine: 64 KiB of hostile text" => sub {
		my $server = start_server($engine, '-v', '--chunk=64k');
		my %texts = ('escape sequences' => "\e[2J\x9b" x 16384,
		    'line feeds' => "\n" x 65536,
		    'random bytes' => random_bytes(65536));
		for (sort keys %texts) {
			is_bytes scalar exchange(dial($server), $texts{$_},
			    undef, half_close => 1), $texts{$_},
			    "$_ come back";
		}
		$server->wait_log(qr/closed/, 3);
		my @lines = split /\n/, $server->log;
		unlike $server->log, qr/[\x00-\x09\x0b-\x1f\x7f]/,
		    'the log has no control character';
		is scalar(grep { !utf8::decode(my $copy = $_) ||
		    length > 500 } @lines), 0,
		    'its lines are UTF-8 and short';
		$server->stop;
	};
}

# 64 MiB, read while they are written. (This comes last because so much memory
# makes each fork slow.)
{
	my $message = pattern(64 << 20);
	for my $engine (engines_but('--select', '--epoll --workers=2')) {
		my $server = start_server($engine, '--stream', '--chunk=64k');
		for my $turn (1 .. ($ENV{ECHO_TORTURE} ? 12 : 1)) {
			my $run = run_echo({ in => $message }, 'send', '-a',
			    $server->address);
			is $run->{status}, 0,
			    "$engine: 64 MiB are sent ($turn)";
			is_bytes $run->{out}, $message,
			    "$engine: and come back ($turn)";
		}
		$server->stop;
	}
}

done_testing;
