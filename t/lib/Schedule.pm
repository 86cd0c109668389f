package Schedule;

# Seeded schedules: clients whose sizes, pieces and manners follow from a seed,
# against a server whose faults (t/shim.c) follow from the same. A schedule is
# one connection; each server serves a block of them, several at a time.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use Socket qw(SHUT_WR);
use Time::HiRes qw(time);

use EchoTest;

our @EXPORT = qw(BLOCK schedules);

use constant { BLOCK => 100, AT_ONCE => 4 };

# How the server of a seed's block is set: what one read takes, what ends a
# connection.
sub _options {
	my ($seed) = @_;
	my $block = int($seed / BLOCK);
	my $chunk = (16, 1, 65536, 7, 4096, 300)[$block % 6];
	return ($chunk, "--chunk=$chunk", '--gap=10s', '-q',
	    $block % 2 ? '--message' : '--stream');
}

# A client that has all its choices made.
sub _client {
	my ($server, $most) = @_;
	my $size = 1 + int($most ** rand);
	return {
		sock => dial($server),
		out => substr(pattern($size + 3), int rand 4, $size),
		in => '', sent => 0,
		half_closes => rand() < 0.5,
		pieces => int((2 * $size + 1) ** rand),
		takes => 1 + int((2 * $size) ** rand)
	};
}

# One step of it: false once it is done; dies if a byte is not as it should.
sub _step {
	my ($c, $read, $write) = @_;
	my ($sock, $size) = ($c->{sock}, length $c->{out});
	if ($write && $c->{sent} < $size) {
		my $n = syswrite $sock, $c->{out}, 1 + int rand(1 + $c->{pieces}),
		    $c->{sent};
		die "write after $c->{sent} of $size: $!\n"
		    unless defined $n || $! == EAGAIN;
		$c->{sent} += $n // 0;
	}
	if ($c->{sent} == $size && $c->{half_closes} && !$c->{fin}++) {
		shutdown $sock, SHUT_WR;
	}
	my $before = length $c->{in};
	if ($read) {
		my $n = sysread $sock, $c->{in}, $c->{takes}, $before;
		die "read after $before of $size: $!\n"
		    unless defined $n || $! == EAGAIN;
		die "differs before $size\n" if $n &&
		    substr($c->{in}, $before) ne substr $c->{out}, $before, $n;
		return 0 if defined $n && $n == 0 && $c->{half_closes} &&
		    $before == $size;
		die "end of file after $before of $size\n"
		    if defined $n && $n == 0;
	}
	return $c->{half_closes} || length $c->{in} < $size;
}

# Several clients side by side to their end; dies of the first that fails.
sub _drive {
	my @clients = @_;
	my $until = time + $DEADLINE;
	while (@clients) {
		my ($r, $w) = ('', '');
		for (@clients) {
			vec($r, fileno $_->{sock}, 1) = 1;
			vec($w, fileno $_->{sock}, 1) = 1
			    if $_->{sent} < length $_->{out} ||
			    $_->{half_closes} && !$_->{fin};
		}
		my $left = $until - time;
		die "hangs: ", join(', ', map { "$_->{sent} sent, " .
		    length($_->{in}) . ' back of ' . length $_->{out} }
		    @clients), "\n" if $left <= 0;
		next if select($r, $w, undef, $left) < 0;
		my @going;
		for (@clients) {
			my $fd = fileno $_->{sock};
			push @going, $_ and next
			    if _step($_, vec($r, $fd, 1), vec($w, $fd, 1));
			close $_->{sock};
		}
		@clients = @going;
	}
}

# The schedules from seed on, at most to the end of its block: how many went
# well, and if not all did, what is wrong with the one after them. All choices
# of a schedule are its seed's, so it fails alone as it failed among others.
sub schedules {
	my ($seed, $n, @way) = @_;
	my ($chunk, @options) = _options($seed);
	my $last = $seed - $seed % BLOCK + BLOCK;
	$last = $seed + $n if $seed + $n < $last;
	my $server = start_server({ wrap => shimmed("seed=$seed") }, @way,
	    @options);
	my $most = $chunk < 20 ? 300 * $chunk : 40000;
	for (my $at = $seed; $at < $last; $at += AT_ONCE) {
		my $to = $at + AT_ONCE < $last ? $at + AT_ONCE : $last;
		my @clients = map { srand $_; _client($server, $most) }
		    $at .. $to - 1;
		srand $at;
		next if eval { _drive(@clients); 1 };
		return ($at - $seed, "$@" . $server->log);
	}
	return $server->stop ? $last - $seed : (0, 'it does not end well');
}

1;
