package Schedule;

# Seeded schedules: a seed determines what a client sends, in which pieces and
# how it ends, and also which faults (t/shim.c) its server meets. A schedule is
# one connection. Each server serves a block of them, several at the same time.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use Socket qw(SHUT_WR);
use Time::HiRes qw(time);

use EchoTest;

our @EXPORT = qw(BLOCK schedules);

use constant { BLOCK => 100, AT_ONCE => 4 };

# The options of the server of a seed's block: the size of one read, and what
# ends a connection.
sub _options {
	my ($seed) = @_;
	my $block = int($seed / BLOCK);
	my $chunk = (16, 1, 65536, 7, 4096, 300)[$block % 6];
	return ($chunk, "--chunk=$chunk", '--gap=10s', '-q',
	    $block % 2 ? '--message' : '--stream');
}

# A client with all its random choices.
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

# One step of a client. Returns false when it has finished; dies if a byte is
# wrong.
sub _step {
	my ($c, $read, $write) = @_;
	my ($sock, $size) = ($c->{sock}, length $c->{out});
	if ($write && $c->{sent} < $size) {
		my $n = syswrite $sock, $c->{out},
		    1 + int rand(1 + $c->{pieces}), $c->{sent};
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

# Runs several clients at the same time until all have finished. Dies when the
# first of them fails.
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

# Runs n schedules from a seed on, at most to the end of its block. Returns how
# many succeeded and, if one failed, its error. All choices of a schedule depend
# only on its seed, so a schedule that fails beside others also fails alone.
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
	return $server->stop ? $last - $seed : (0, 'it ends with an error');
}

1;
