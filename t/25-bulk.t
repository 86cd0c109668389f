# Bulk streams, which the server may move with splice(2) without copying them.
# Each stream arrives whole and unchanged, whatever happens during the transfer,
# and no byte of one client reaches another client.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(:DEFAULT IPPROTO_TCP MSG_OOB TCP_MAXSEG);
use Test::More;

my $MiB = 1 << 20;
my $pattern = pattern($MiB);

# The bytes at an offset of an endless pattern.
sub piece { pattern_at($pattern, @_) }

# Sends the sizes one after the other, each written and read at the same time,
# and then FIN. Returns what differs, or how the stream ends.
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
	my ($rest, $end) = get_all($sock);
	return $rest eq '' ? $end : show($rest) . " and then $end";
}

# Segments of 536 bytes, which fill the pipe before a chunk is read.
sub dial_small_segments {
	my ($server) = @_;
	socket my $sock, AF_INET, SOCK_STREAM, 0 or die $!;
	setsockopt $sock, IPPROTO_TCP, TCP_MAXSEG, 536;
	connect $sock, pack_sockaddr_in($server->port, INADDR_LOOPBACK)
	    or die $!;
	$sock->blocking(0);
	return $sock;
}

sub test_streams {
	my ($engine) = @_;
	my $server = start_server($engine);
	is exact(dial($server), (4 * $MiB) x 4), 'eof',
	    '16 MiB come back, then the end of file';
	is exact(dial($server), map { (3 * $MiB, 1, 64, 65536, 65537) } 1 .. 4),
	    'eof', 'bulk and small messages alternate on one connection';
	is exact(dial_small_segments($server), (2 * $MiB) x 3), 'eof',
	    'small segments come back';

	# splice(2) stops at an urgent byte; the stream must continue.
	my $sock = dial($server);
	my $before = piece(0, 2 * $MiB);
	exchange($sock, $before, length $before);
	put($sock, piece(0, 300_000));
	send $sock, '!', MSG_OOB;
	my $back = exchange($sock, piece(7, 300_000), undef, half_close => 1);
	is_bytes $back, piece(0, 300_000) . '!' . piece(7, 300_000),
	    'an urgent byte in a bulk stream comes back in its place';
	$server->stop;
}

# Some clients reset their connections during the transfer while another client
# continues. The remaining bytes of the reset clients must not reach this
# client.
sub test_resets {
	my ($engine) = @_;
	my $server = start_server($engine, '-q');
	my @resetting = map { spawn(sub {
		for (1 .. 40) {
			my $sock = dial($server);
			for (1 .. 40) {
				syswrite $sock, 'RUDE' x 65536;
				sysread $sock, my $back, 100_000;
			}
			reset_connection($sock);
		}
	}) } 1 .. 2;
	is exact(dial($server), (4 * $MiB) x 4), 'eof',
	    "stream $_ is exact while other clients reset" for 1 .. 3;
	end_processes(@resetting);
	$server->stop;
}

# A bulk client stops reading, sends FIN, and then reads.
sub test_pending {
	my ($engine) = @_;
	my $server = start_server($engine);
	my $sock = dial($server);
	exchange($sock, $pattern, $MiB);
	my $sent = fill($sock, $pattern, 0.3);
	shutdown $sock, SHUT_WR;
	my ($back, $end) = get_all($sock);
	is_bytes $back, piece(0, $sent),
	    'all pending output comes after the half-close';
	is $end, 'eof', 'then the end of file';
	$server->stop;
}

subtest $_ => sub {
	my $engine = $_;
	subtest 'streams' => sub { test_streams($engine) };
	subtest 'beside resets' => sub { test_resets($engine) };
	subtest 'a half-close with pending output' =>
	    sub { test_pending($engine) };
} for parallel_engines();

# The server ends connections after a pause (--gap). The pause is long, so that
# a process that is not scheduled for a second is not taken for a silent client.
# All engines pause at the same time.
my %stopping = map { $_ => start_server($_, '--gap=4s', '--drain=1m') }
    parallel_engines();
my %message = map { $_ => start_server($_, '--message', '--gap=4s') }
    parallel_engines();
my (%stopped_sock, %message_sock);

for my $engine (sort keys %stopping) {
	subtest "$engine: SIGTERM in mid-stream" => sub {
		my $sock = $stopped_sock{$engine} = dial($stopping{$engine});
		exchange($sock, piece(0, 2 * $MiB), 2 * $MiB);
		$stopping{$engine}->signal('TERM');
		my $rest = piece(2 * $MiB, 6 * $MiB);
		is_bytes scalar exchange($sock, $rest, length $rest), $rest,
		    'all bytes sent after it come back';
	};
	subtest "$engine: a message of 3 MiB" => sub {
		my $sock = $message_sock{$engine} = dial($message{$engine});
		is_bytes scalar exchange($sock, piece(0, 3 * $MiB), 3 * $MiB),
		    piece(0, 3 * $MiB), 'it comes back';
	};
}
for my $engine (sort keys %stopping) {
	subtest "$engine: the end after a pause" => sub {
		is join(' ', get_all($stopped_sock{$engine})), ' eof',
		    'stopping, the server ends the stream';
		$stopping{$engine}->stop(undef);
		is join(' ', get_all($message_sock{$engine})), ' eof',
		    'it ends the message';
		close $message_sock{$engine};
		$message{$engine}->wait_log(qr/ closed /);
		like $message{$engine}->log, qr/received 3145728 bytes "\\x00/,
		    'the log shows the size and the beginning of the message';
		$message{$engine}->stop;
	};
}

done_testing;
