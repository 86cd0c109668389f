# Faults of clients and of the machine that take numbers to be seen: a
# thousand resets, ten ends in mid-input, many clients that are stopped.
# (t/50-rough.t has the single ones.) With ECHO_TORTURE=1 there is more of it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use IO::Select;
use POSIX qw(:sys_wait_h);
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep time);

my @parallel = grep { $_ ne '--blocking' } engines();

# The end of file right behind the data, one client after the other.
for my $engine (engines()) {
	my $server = start_server($engine, '--stream', '--chunk=64k', '-q');
	for my $message (pattern(5), pattern(65536)) {
		my $exact = grep { join('', exchange(dial($server), $message,
		    undef, half_close => 1)) eq "${message}eof" } 1 .. 1000;
		is $exact, 1000, "$engine: FIN right behind " .
		    length($message) . ' bytes, 1000 times';
	}
	$server->stop;
}

# Byte by byte, ten at a time. Nagle's algorithm against delayed ACKs would
# show as steps of 40 ms. The p99 is to be below 5 ms; a machine that is busy is
# given ten tries, and may then be slower as long as it is no such step.
for my $engine (engines()) {
	for my $chunk (1, 65536) {
		my $server = start_server($engine, '--stream',
		    "--chunk=$chunk");
		my ($exact, $p99);
		for my $try (1 .. 10) {
			($exact, $p99) = byte_by_byte($server);
			last if !$exact || $p99 < 0.005;
		}
		ok $exact, "$engine --chunk=$chunk: byte by byte: exact";
		cmp_ok $p99, '<', 0.03, sprintf '%s --chunk=%d: byte by ' .
		    'byte: p99 %.1f ms', $engine, $chunk, 1000 * $p99;
		$server->stop;
	}
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
	return ($back eq $sent, $took[297]);
}

# Resets in mid-stream.
for my $engine (engines()) {
	my $server = start_server($engine, '-q');
	my $before = $server->descriptors;
	my $block = 'y' x 50000;
	for (1 .. 1000) {
		my $victim = dial($server);
		syswrite $victim, $block;
		setsockopt $victim, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
		close $victim;
	}
	is exchange(dial($server), 'alive', undef, half_close => 1), 'alive',
	    "$engine: alive after 1000 resets";
	SKIP: {
		skip 'descriptors are told by /proc', 1 unless defined $before;
		my $until = time + $DEADLINE;
		sleep 0.01 while $server->descriptors > $before &&
		    time < $until;
		is $server->descriptors, $before,
		    "$engine: with the descriptors it began with";
	}
	$server->stop;
}

# The server ends it while input comes: the client reads every byte owed, then
# an end of file, however its next bytes fall. Ten servers each at a time.
{
	my %ends = (
		'--gap' => { options => ['--message', '--gap=200ms',
		    '--idle=0'], size => 1000, pause => 0.2 },
		'--idle' => { options => ['--stream', '--idle=200ms'],
		    size => 1000, pause => 0.2 },
		# This one reads less than it writes: much is under way.
		TERM => { options => ['--stream', '--drain=2s',
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
		# So that it is under way when the end comes.
		exchange($_->{sock}, substr($block, 0, 4), 4);
		$_->{sent} = $_->{back} = 4;
	}
	my $until = time + $DEADLINE;
	while (time < $until && (my @going = grep { !$_->{end} } @all)) {
		write_and_read($_, $block, $twice) for @going;
		sleep 0.001;
	}
	my %well;
	for (@all) {
		my ($server, $n) = @$_{qw(server back)};
		$server->stop($_->{signal} ? undef : 'TERM');
		my $owed = $server->log =~ /closed after $n bytes?,/;
		my $well = $owed && $_->{exact} && ($_->{end} // '') eq 'eof';
		diag "$_->{name}: $n of $_->{sent} bytes, ", $_->{end} // 'late',
		    "\n", $server->log unless $well;
		$well{$_->{name}} += $well;
	}
	is $well{$_}, 10, "$_: while input comes, all owed and then an end " .
	    'of file, 10 of 10' for sort keys %well;
}

# One step of a client that writes in spite of the server's end.
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

# Out of descriptors with no client at all, so that none can leave: the
# server turns a few away, rests, and serves when there are more. (The limit
# is one process's: several workers are several such servers.)
SKIP: {
	my @cases = map +{ engine => $_, server => start_server($_) },
	    grep { !/ / } engines();
	$_->{most} = first_free($_->{server}) for @cases;
	my $limit = sub { !system 'prlimit', "--nofile=$_[1]:", '--pid',
	    $_[0]->pid };
	unless (defined $cases[0]{most} &&
	    $limit->($cases[0]{server}, $cases[0]{most})) {
		$_->{server}->stop for @cases;
		skip 'no prlimit(1) or no /proc here', 5 * @cases;
	}
	for (@cases) {
		my $server = $_->{server};
		$limit->($server, $_->{most});
		$server->allow(qr/^echo serve: cannot accept, pausing/);
		$_->{socks} = [ map { dial($server) } 1 .. 20 ];
	}
	$_->{server}->wait_log(qr/Too many open/) for @cases;
	my $warnings = sub { scalar(() = $_[0]->log =~ /Too many/g) };
	my $start = time;
	for (@cases) {
		$_->{cpu} = $_->{server}->cpu;
		$_->{warnings} = $warnings->($_->{server});
	}
	sleep 2;
	for (@cases) {
		my ($engine, $server) = @$_{qw(engine server)};
		cmp_ok $server->cpu - $_->{cpu}, '<=', 0.04 + 0.02,
		    "$engine: no client and no descriptor: it does not spin";
		cmp_ok $warnings->($server) - $_->{warnings}, '<=',
		    1 + time - $start, "$engine: nor fill the log";
		my $away = grep { IO::Select->new($_)->can_read(0) }
		    @{ $_->{socks} };
		ok $away >= 1 && $away <= 10, "$engine: and turns few away" or
		    diag "$away of 20";
		@{ $_->{socks} } = ();
		$limit->($server, 64);
		my $took = seconds_of(sub {
			is exchange(dial($server), 'back', 4), 'back',
			    "$engine: when there are descriptors";
		});
		cmp_ok $took, '<', 1, "$engine: it serves, within 1 s";
		$server->stop;
	}
}

# The descriptor that it would get next; undef where that is not told.
sub first_free {
	my ($server) = @_;
	my $fd = 0;
	return undef unless defined $server->descriptors;
	$fd++ while -l '/proc/' . $server->pid . "/fd/$fd";
	return $fd;
}

# Clients are stopped while they are owed more than their sockets hold.
for my $engine (@parallel) {
	my $server = start_server($engine, '-q');
	my $many = $ENV{ECHO_TORTURE} ? 50 : 15;
	my @clients = map { stopping_client($server) } 1 .. $many;
	is scalar(grep { waitpid($_, WUNTRACED) == $_ } @clients), $many,
	    "$engine: $many clients are stopped";
	my $other = dial($server);
	my @took = map { seconds_of(sub { exchange($other, 'hello', 5) }) }
	    1 .. 21;
	cmp_ok median(@took), '<', 0.05, "$engine: they keep nobody waiting";
	kill CONT => @clients;
	my $exact = grep { waitpid($_, 0) == $_ && $? == 0 } @clients;
	is $exact, $many, "$engine: and complete when they go on";
	close $other;
	$server->stop;
}

# A client in a process of its own, which writes more than a socket takes
# unread, stops itself, and reads when it goes on.
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
		$back eq substr $block x (1 + $sent / length $block), 0, $sent
		    or die "differs\n";
	});
}

# Lines of 64 KiB that drive a terminal, and whatever bytes there are.
for my $engine (engines()) {
	my $server = start_server($engine, '-v', '--chunk=64k');
	$server->allow(qr/^echo serve: no sandbox: /);
	for my $text ("\e[2J\x9b" x 16384, "\n" x 65536, random_bytes(65536)) {
		my $back = exchange(dial($server), $text, undef, half_close => 1);
		ok $back eq $text, "$engine: 64 KiB of hostile text come back";
	}
	$server->wait_log(qr/closed/, 3);
	my @lines = split /\n/, $server->log;
	unlike $server->log, qr/[\x00-\x09\x0b-\x1f\x7f]/,
	    "$engine: and no control byte gets into the log";
	is scalar(grep { !utf8::decode(my $copy = $_) || length > 500 } @lines),
	    0, "$engine: nor what is no text, nor a long line";
	$server->stop;
}

# Much, read while it is written. (The last, for it makes forks dear.)
{
	my $message = pattern(64 << 20);
	for my $engine (engines()) {
		my $server = start_server($engine, '--stream', '--chunk=64k');
		for my $turn (1 .. ($ENV{ECHO_TORTURE} ? 12 : 1)) {
			my $run = run_echo({ in => $message }, 'send', '-a',
			    $server->address);
			ok $run->{status} == 0 && $run->{out} eq $message,
			    "$engine: 64 MiB ($turn)" or
			    diag "exit status $run->{status}\n$run->{err}";
		}
		$server->stop;
	}
}

done_testing;
