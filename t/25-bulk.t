# Bulk streams, which may pass through the kernel without being copied: exact
# whatever else comes in between, and nothing of one is ever seen by another.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(:DEFAULT IPPROTO_TCP MSG_OOB TCP_MAXSEG);
use Test::More;
use Time::HiRes qw(sleep time);

my @parallel = grep { $_ ne '--blocking' } engines();
my $MiB = 1 << 20;
my $pattern = pattern($MiB);

# Bytes from..to of an endless pattern.
sub piece {
	my ($from, $size) = @_;
	my $at = $from % $MiB;
	return substr $pattern x (1 + ($at + $size) / $MiB), $at, $size;
}

# Whether it all comes back, piece by piece, each written and read at once.
sub exact {
	my ($sock, @sizes) = @_;
	my $at = 0;
	for my $size (@sizes) {
		my $out = piece($at, $size);
		return "differs within $size at $at"
		    unless exchange($sock, $out, $size) eq $out;
		$at += $size;
	}
	shutdown $sock, SHUT_WR;
	my $rest = join "", get_all($sock);
	return length $rest > 80 ? show($rest) : $rest;
}

for my $engine (@parallel) {
	my $server = start_server($engine);
	is exact(dial($server), (4 * $MiB) x 4), 'eof',
	    "$engine: 16 MiB, then the end of file";
	is exact(dial($server), map { (3 * $MiB, 1, 64, 65536, 65537) } 1 .. 4),
	    'eof', "$engine: bulk and messages in turn on one connection";

	# An urgent byte in the midst of it stops splice(2), not the stream.
	my $sock = dial($server);
	my $before = piece(0, 2 * $MiB);
	exchange($sock, $before, length $before);
	put($sock, piece(0, 300_000));
	send $sock, '!', MSG_OOB;
	my $back = exchange($sock, piece(7, 300_000), undef, half_close => 1);
	ok $back eq piece(0, 300_000) . '!' . piece(7, 300_000),
	    "$engine: an urgent byte in bulk stands in its place" or
	    diag show($back);

	# Segments so small that the pipe is full before the chunk is.
	socket $sock, AF_INET, SOCK_STREAM, 0 or die $!;
	setsockopt $sock, IPPROTO_TCP, TCP_MAXSEG, 536;
	connect $sock, pack_sockaddr_in($server->port, INADDR_LOOPBACK)
	    or die $!;
	$sock->blocking(0);
	is exact($sock, (2 * $MiB) x 3), 'eof', "$engine: small segments";
	close $sock;
	$server->stop;

	# Some break off while others go on: what is left of the former must
	# not be found by the latter.
	$server = start_server($engine, '-q');
	my @rude = map { spawn(sub {
		for (1 .. 40) {
			my $sock = dial($server);
			setsockopt $sock, SOL_SOCKET, SO_LINGER,
			    pack 'ii', 1, 0;
			for (1 .. 40) {
				syswrite $sock, 'RUDE' x 65536;
				sysread $sock, my $back, 100_000;
			}
			close $sock;
		}
	}) } 1 .. 2;
	is exact(dial($server), (4 * $MiB) x 4), 'eof',
	    "$engine: exact beside those that break off" for 1 .. 3;
	kill KILL => @rude;
	waitpid $_, 0 for @rude;
	$server->stop;

	# A bulk client that stops reading, and one that ends by half-closing
	# with all still to be read: everything owed comes.
	$server = start_server($engine);
	$sock = dial($server);
	exchange($sock, piece(0, $MiB), $MiB);
	my $sent = $MiB;
	while (IO::Select->new($sock)->can_write(0.3)) {
		$sent += syswrite($sock, $pattern, 65536, $sent % $MiB) // 0;
	}
	shutdown $sock, SHUT_WR;
	($back, my $end) = get_all($sock);
	ok $back eq piece($MiB, $sent - $MiB) && $end eq 'eof',
	    "$engine: all " . ($sent - $MiB) . ' bytes owed at the half-close'
	    or diag length $back, " and then $end";
	close $sock;

	# Stopped in the midst of one.
	$sock = dial($server);
	exchange($sock, piece(0, 2 * $MiB), 2 * $MiB);
	$server->signal('TERM');
	($back, $end) = exchange($sock, piece(2 * $MiB, 6 * $MiB), undef);
	ok $back eq piece(2 * $MiB, 6 * $MiB) && $end eq 'eof',
	    "$engine: TERM in mid-stream: all that was sent comes back" or
	    diag length $back, " of ", 6 * $MiB, " and then $end";
	close $sock;
	$server->stop(undef);

	# In message mode a pause ends it, after all is paid.
	$server = start_server($engine, '--message', '--gap=300ms');
	($back, $end) = exchange(dial($server), piece(0, 3 * $MiB), undef);
	ok $back eq piece(0, 3 * $MiB) && $end eq 'eof',
	    "$engine: a message of 3 MiB" or
	    diag length $back, " and then $end";
	$server->wait_log(qr/ closed /);
	like $server->log, qr/received 3145728 bytes "\\x00/,
	    "$engine: whose beginning is logged";
	$server->stop;
}

done_testing;
