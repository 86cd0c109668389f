# Ends: a pause, idleness, signals. Whoever ends a connection, every byte owed
# comes first, then the end of file, never a reset.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use POSIX ();
use Socket qw(SHUT_WR);
use Test::More;
use Time::HiRes qw(sleep time);

my @parallel = grep { $_ ne '--blocking' } engines();

# How long until the server's end of file, and what came until then.
sub ended {
	my ($sock) = @_;
	my $start = time;
	my ($back, $end) = get_all($sock);
	return ("$back $end", time - $start);
}

sub between {
	my ($got, $low, $high, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok $got >= $low && $got <= $high, $name or
	    diag "not within $low..$high but $got";
}

# Writes for so long, reading at the same time; what was written and read.
# Keeps on writing after the server's FIN, as a client may.
sub write_until {
	my ($sock, $until) = @_;
	my $block = pattern(1 << 16);
	my ($sent, $back, $end) = (0, '', '');
	while (time < $until && $end eq '') {
		my $n = syswrite $sock, $block, 1 << 16, $sent % (1 << 16);
		$sent += $n // 0;
		my $k = sysread $sock, $back, 1 << 18, length $back;
		$end = defined $k ? $k == 0 ? 'eof' : '' :
		    $!{EAGAIN} ? '' : "$!";
		select undef, undef, undef, 0.001 if !$n && !$k;
	}
	return ($sent, $back, $end, $block);
}

for my $engine (engines()) {
	# A message ends at a pause, and not at a shorter one.
	my $server = start_server($engine, '--message', '--gap=400ms');
	my $sock = dial($server);
	for my $part ('first ', 'second ', 'third') {
		is exchange($sock, $part, length $part), $part,
		    "$engine: pauses shorter than the gap do not end a message";
		sleep 0.1;
	}
	my ($end, $took) = ended($sock);
	is $end, ' eof', "$engine: a longer one does";
	between $took, 0.2, 0.8, "$engine: in time";
	close $sock;
	$server->wait_log(qr/closed after 18 bytes, .*: end of message/);
	like $server->log, qr/received 18 bytes "first second third"$/m,
	    "$engine: and the log has it in one piece";

	# Ending first, the server lingers: what still comes is no reset.
	$sock = dial($server);
	is exchange($sock, 'x' x 100, undef), 'x' x 100,
	    "$engine: after the gap the answer is there";
	ok put($sock, 'more') && put($sock, 'and more'),
	    "$engine: input after that is taken";
	my $n = sysread $sock, my $rest, 1;
	is $n, 0, "$engine: it is still an end of file, not a reset";
	close $sock;
	$server->stop;

	# Idleness.
	$server = start_server($engine, '--stream', '--idle=400ms',
	    '--chunk=64k');
	($end, $took) = ended(dial($server));
	is $end, ' eof', "$engine: silent from the start, it is closed";
	between $took, 0.3, 0.9, "$engine: after --idle";
	$sock = dial($server);
	for (1 .. 8) {
		exchange($sock, 'x', 1);
		sleep 0.1;
	}
	is exchange($sock, 'y', 1), 'y', "$engine: one that moves is kept";
	close $sock;
	# Bytes that wait while the server cannot run are not late.
	$sock = dial($server);
	exchange($sock, 'x', 1);
	$server->signal('STOP');
	put($sock, 'still here');
	sleep 0.6;
	$server->signal('CONT');
	is get($sock, 10), 'still here', "$engine: stopped beyond --idle";
	close $sock;

	$sock = dial($server);
	setsockopt $sock, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096;
	my $chunk = 'z' x 65536;
	syswrite $sock, $chunk while IO::Select->new($sock)->can_write(0.2);
	# What it has not taken may all be with the kernel: the second one.
	ok $server->wait_log(qr/closed .*: idle\b/, 2),
	    "$engine: one that takes nothing is closed";
	close $sock;
	$server->stop;

	# Nor are they late who then wait for their turn, more than one wait
	# can tell of.
	if ($engine ne '--blocking') {
		$server = start_server($engine, '-q', '--idle=1s');
		my @socks = map { dial($server) } 1 .. 200;
		put($_, 'x') for @socks;
		get($_, 1) for @socks;
		my @processes = ($server->pid, $server->workers);
		kill STOP => @processes;
		put($_, 'we too') for @socks;
		sleep 1.2;
		kill CONT => @processes;
		is scalar(grep { get($_, 6) eq 'we too' } @socks), 200,
		    "$engine: 200 who were ready beyond --idle";
		close $_ for @socks;
		$server->stop;
	}

	# Signals, with nobody there.
	for my $signal ('TERM', 'INT') {
		$server = start_server($engine);
		my $start = time;
		$server->stop($signal);
		between time - $start, 0, 1, "$engine: $signal: at once";
		is $server->log, "served 0 clients, 0 bytes\n",
		    "$engine: $signal: with the totals";
	}

	$server = start_server($engine);
	exchange(dial($server), 'hello', 5, half_close => 1);
	$server->wait_log(qr/closed/);
	$server->signal('USR1');
	ok $server->wait_log(qr/^served 1 client, 5 bytes$/m),
	    "$engine: USR1: the totals so far";
	is exchange(dial($server), 'on', 2), 'on', "$engine: and it goes on";
	$server->stop;

	# Clients that write without end are waited for, for --drain; a second
	# signal does not wait. (The server is never without something ready,
	# and still has to see the signals.)
	$server = start_server($engine, '--stream', '--drain=1m');
	my @floods = map { flood($server) } 1 .. 3;
	$server->wait_log(qr/received/);
	$server->signal('TERM');
	my $refused = sub {
		!IO::Socket::IP->new(PeerHost => '127.0.0.1',
		    PeerPort => $server->port, Timeout => 5);
	};
	my $start = time;
	1 until $refused->() || time > $start + $DEADLINE;
	between time - $start, 0, 1, "$engine: TERM in a flood: nobody new";
	$start = time;
	$server->signal('TERM');
	is $server->wait, 1 << 8, "$engine: the second signal: status 1";
	between time - $start, 0, 1, "$engine: at once";
	kill KILL => @floods;
	waitpid $_, 0 for @floods;

	# And without a second one, they are cut when the time is over.
	$server = start_server($engine, '--stream', '--drain=1500ms');
	@floods = map { flood($server) } 1 .. 3;
	$server->wait_log(qr/received/);
	$start = time;
	$server->stop;
	between time - $start, 0.4, 3, "$engine: TERM in a flood: it is over " .
	    'after --drain';
	kill KILL => @floods;
	waitpid $_, 0 for @floods;

	# One under way, whole, while the server stops.
	$server = start_server($engine, '--stream', '--chunk=4k');
	my $message = pattern(8 << 20);
	$sock = dial($server);
	is exchange($sock, substr($message, 0, 1 << 20), 1 << 20),
	    substr($message, 0, 1 << 20), "$engine: before the signal";
	$server->signal('TERM');
	my ($back, $how) = exchange($sock, substr($message, 1 << 20), undef);
	ok $back eq substr($message, 1 << 20) && $how eq 'eof',
	    "$engine: TERM in mid-transfer: all that was sent comes back" or
	    diag length $back, " of ", 7 << 20, " and then $how";
	close $sock;
	$server->stop(undef);

	# And one without an end: what is owed, then end of file. (It is to be
	# a client that keeps within what the socket takes, so the bytes that
	# came back are a beginning of those sent.)
	$server = start_server($engine, '--stream', '--chunk=64k',
	    '--drain=1500ms');
	$sock = dial($server);
	exchange($sock, 'x', 1);
	$start = time;
	$server->signal('TERM');
	my ($sent, $all, $last, $block) = write_until($sock, $start + $DEADLINE);
	between time - $start, 0.2, 2.5, "$engine: TERM with endless input: " .
	    'over within --drain';
	my $whole = $block x (1 + $sent / length $block);
	is $last, 'eof', "$engine: by an end of file";
	ok length $all && $all eq substr($whole, 0, length $all),
	    "$engine: after every byte owed";
	close $sock;
	$server->stop(undef);
}

# Whoever is silent when the server stops is not waited for.
for my $engine (@parallel) {
	my $server = start_server($engine, '--idle=0');
	my @socks = map { dial($server) } 1 .. 20;
	is exchange($_, 'x', 1), 'x', "$engine: one of 20" for @socks;
	sleep 0.6;
	my $start = time;
	$server->signal('TERM');
	my $eofs = grep { (get_all($_))[1] eq 'eof' } @socks;
	is $eofs, 20, "$engine: TERM: 20 silent clients get an end of file";
	close $_ for @socks;
	$server->stop(undef);
	between time - $start, 0, 2, "$engine: without the drain time";
}

# Who is connected when the server stops is served, even if it has not been
# looked at yet: 20 in the kernel's queue of a server that does not run.
for my $engine (@parallel) {
	my $server = start_server($engine);
	$server->signal('STOP');
	my @socks = map { dial($server) } 1 .. 20;
	put($_, 'in the queue') for @socks;
	$server->signal($_) for qw(TERM CONT);
	my @back = map { scalar exchange($_, '', undef) } @socks;
	is "@back", join(' ', ('in the queue') x 20),
	    "$engine: who waits in the kernel's queue when it stops is served";
	$server->stop(undef);
}

# As PID 1 no signal has a default action.
SKIP: {
	my @unshare = ('unshare', '-fp', '--kill-child');
	push @unshare, '-r' if $> != 0;
	skip 'no PID namespace to be had', 1
	    if system("@unshare true >/dev/null 2>&1") != 0;
	for my $engine (engines()) {
		my $server = start_server({ wrap => \@unshare }, $engine);
		is exchange(dial($server), 'pid', 3), 'pid', "$engine: PID 1";
		$server->wait_log(qr/received/);
		# unshare waits for it; the server is its only child.
		my $children = "/proc/" . $server->pid . "/task/" .
		    $server->pid . "/children";
		my ($pid) = split ' ', slurp($children);
		kill TERM => $pid;
		$server->stop(undef);
	}
}

done_testing;
