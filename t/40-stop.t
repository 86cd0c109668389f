# Signals that stop the server. The server finishes the transfers, sends all
# pending output and then an end of file, never a reset.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $MiB = 1 << 20;
my $block = pattern(65536);

# Writes and reads at the same time until the server's end of file or a time
# limit. Continues to write after the end of file, as a client may do. Returns
# the bytes that were read, and how the connection ended.
sub write_until {
	my ($sock, $until) = @_;
	my ($sent, $back, $end) = (0, '', '');
	while (time < $until && $end eq '') {
		my $n = syswrite $sock, $block, 65536, $sent % 65536;
		$sent += $n // 0;
		my $k = sysread $sock, $back, 1 << 18, length $back;
		$end = defined $k ? $k == 0 ? 'eof' : '' :
		    $!{EAGAIN} ? '' : "$!";
		sleep 0.001 if !$n && !$k;
	}
	return ($back, $end);
}

sub test_without_clients {
	my ($engine) = @_;
	for my $signal ('TERM', 'INT') {
		my $server;
		at_most(1, sub {
			$server = start_server($engine);
			return seconds_of(sub { $server->stop($signal) });
		}, "SIG$signal ends a server without clients at once");
		is $server->log, "served 0 clients, 0 bytes\n",
		    "SIG$signal: the log ends with the totals";
	}
}

sub test_totals {
	my ($engine) = @_;
	my $server = start_server($engine);
	exchange(dial($server), 'hello', 5, half_close => 1);
	$server->wait_log(qr/closed/);
	$server->signal('USR1');
	ok $server->wait_log(qr/^served 1 client, 5 bytes$/m),
	    'SIGUSR1 logs the totals';
	is exchange(dial($server), 'on', 2), 'on', 'the server goes on';
	$server->stop;
}

# Three clients that write without end. Some client is always ready, and the
# server must still notice the signals.
sub start_flood {
	my ($engine, @options) = @_;
	my $server = start_server($engine, '--stream', '--gap=1m', @options);
	my @floods = map { flood($server) } 1 .. 3;
	$server->wait_log(qr/received/);
	return ($server, @floods);
}

sub test_flood {
	my ($engine) = @_;
	my ($last_end, $refusing);
	my $stop_twice = sub {
		my ($server, @floods) = start_flood($engine, '--drain=1m');
		$server->signal('TERM');
		$refusing = seconds_of(sub {
			wait_until(sub { refuses_connections($server) })
		});
		my $took = seconds_of(sub {
			$server->signal('TERM');
			$last_end = $server->wait;
		});
		end_processes(@floods);
		return $took > $refusing ? $took : $refusing;
	};
	at_most(1, $stop_twice, 'SIGTERM closes the listener at once, ' .
	    'a second one ends the server at once');
	is $last_end, 1 << 8, 'the second one ends it with status 1';

	my $least;
	at_most(3, sub {
		my ($server, @floods) = start_flood($engine, '--drain=1100ms');
		my $took = seconds_of(sub { $server->stop });
		$least = $took if !defined $least || $took < $least;
		end_processes(@floods);
		return $took;
	}, 'after --drain a single SIGTERM ends the server, too');
	cmp_ok $least, '>=', 0.09, 'not before';
}

# Input without an end. The client does not write more than the socket accepts,
# so that the bytes that it reads are a beginning of those that it has written.
sub test_endless {
	my ($engine) = @_;
	my @results;
	my $measure = sub {
		my $server = start_server($engine, '--stream', '--chunk=64k',
		    '--drain=1250ms');
		my $sock = dial($server);
		exchange($sock, 'x', 1);
		my $start = time;
		$server->signal('TERM');
		my ($back, $end) = write_until($sock, $start + $DEADLINE);
		my $took = time - $start;
		close $sock;
		$server->stop(undef);
		push @results, { back => $back, took => $took, end => $end };
		return $results[-1];
	};
	my $last = measure_again($measure,
	    sub { $_[0]{took} <= 2.5 && $_[0]{end} eq 'eof' });
	is_between $last->{took}, 0.2, 2.5, 'the stream ends within --drain';
	is $last->{end}, 'eof', 'by an end of file';
	for (@results) {
		cmp_ok length $_->{back}, '>', 0, 'bytes come back';
		is_bytes $_->{back}, pattern_at($block, 0, length $_->{back}),
		    'all pending output came first';
	}
}

for my $engine (engines()) {
	subtest "$engine: no client" => sub { test_without_clients($engine) };
	subtest "$engine: SIGUSR1" => sub { test_totals($engine) };
	subtest "$engine: clients that write without end" =>
	    sub { test_flood($engine) };
	subtest "$engine: a stream without end" =>
	    sub { test_endless($engine) };
}

# When the server stops, it finishes a running transfer. Then comes the pause
# (--gap). The pause is long, so that a process that is not scheduled for a
# second is not taken for a silent client. All engines pause at the same time.
{
	my $message = pattern(8 * $MiB);
	my ($first, $rest) = (substr($message, 0, $MiB),
	    substr($message, $MiB));
	my @cases = map { { engine => $_, server => start_server($_,
	    '--stream', '--chunk=4k', '--gap=4s', '--drain=1m') } } engines();
	for (@cases) {
		my $server = $_->{server};
		subtest "$_->{engine}: a transfer under way" => sub {
			my $sock = $_->{sock} = dial($server);
			is_bytes scalar exchange($sock, $first, $MiB), $first,
			    'before SIGTERM all comes back';
			$server->signal('TERM');
			is_bytes scalar exchange($sock, $rest, length $rest),
			    $rest, 'all bytes sent after it come back';
		};
	}
	for (@cases) {
		is join(' ', get_all($_->{sock})), ' eof',
		    "$_->{engine}: the transfer ends by an end of file";
		close $_->{sock};
		$_->{server}->stop(undef);
	}
}

# The server does not wait for clients that have been silent for --gap.
for my $engine (parallel_engines()) {
	subtest "$engine: silent clients" => sub {
		my $server = start_server($engine, '--idle=0', '--drain=20s');
		my @socks = map { dial($server) } 1 .. 20;
		is scalar(grep { exchange($_, 'x', 1) eq 'x' } @socks), 20,
		    'twenty clients are served';
		sleep 0.6;
		my $start = time;
		$server->signal('TERM');
		is scalar(grep { (get_all($_))[1] eq 'eof' } @socks), 20,
		    'SIGTERM: each reads an end of file';
		close $_ for @socks;
		$server->stop(undef);
		cmp_ok time - $start, '<', 10, 'long before --drain';
	};
}

# Clients that are connected but not yet accepted when the server stops are
# served: twenty are in the kernel's queue of a server that does not run.
for my $engine (engines()) {
	my $server = start_server($engine);
	my @processes = $server->processes;
	kill STOP => @processes;
	my @socks = map { dial($server) } 1 .. 20;
	put($_, 'in the queue') for @socks;
	$server->signal('TERM');
	kill CONT => @processes;
	my @back = map { scalar exchange($_, '', undef, half_close => 1) }
	    @socks;
	is "@back", join(' ', ('in the queue') x 20),
	    "$engine: clients in the kernel's queue are served";
	close $_ for splice @socks;
	$server->stop(undef);
}

# For process 1 no signal has a default action.
SKIP: {
	my @unshare = ('unshare', '-fp', '--kill-child');
	push @unshare, '-r' if $> != 0;
	skip 'a PID namespace cannot be created', 1
	    if system("@unshare true >/dev/null 2>&1") != 0;
	for my $engine (engines()) {
		my $server = start_server({ wrap => \@unshare }, $engine);
		is exchange(dial($server), 'pid', 3), 'pid',
		    "$engine: PID 1 serves";
		$server->wait_log(qr/received/);
		# The server is the only child of unshare, which waits for it.
		my $children = "/proc/" . $server->pid . "/task/" .
		    $server->pid . "/children";
		my ($pid) = split ' ', slurp($children);
		kill TERM => $pid;
		$server->stop(undef);
	}
}

done_testing;
