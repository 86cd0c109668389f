# How bulk data is sent: answers leave in full segments while more input waits,
# the last one without delay, and bytes that pass through the pipe of the
# kernel are never those of another client.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my @parallel = grep { !/workers/ } parallel_engines();

# The flags of each send of a server that gets 3 chunks of 16 bytes at once.
sub sends_of {
	my ($engine) = @_;
	my $tmp = File::Temp->newdir;
	my $server = start_command(trace_sends("$tmp/trace"),
	    program(), 'serve', $engine, '-q', '--stream',
	    '--chunk=16', '--port=0');
	my ($traced) = split ' ', slurp('/proc/' . $server->pid . '/task/' .
	    $server->pid . '/children');
	my $sock = dial($server);
	is exchange($sock, 'x' x 48, undef, half_close => 1), 'x' x 48,
	    'the echo';
	kill TERM => $traced;
	$server->wait;
	return [ flags_of_sends("$tmp/trace") ];
}

SKIP: {
	skip 'no strace here that may trace', 1
	    if run_command('strace', '-e', 'trace=none', 'true')->{status};
	my ($more, $last) = ('MSG_DONTWAIT|MSG_NOSIGNAL|MSG_MORE',
	    'MSG_DONTWAIT|MSG_NOSIGNAL');
	for my $engine (@parallel, '--blocking') {
		is_deeply sends_of($engine), [ $more, $more, $last ],
		    "$engine: MSG_MORE while more input waits, and only then";
	}
}

for my $engine (@parallel) {
	# The server ends a bulk stream because the client pauses. Then the
	# client sends more bytes, which the server discards. The next client
	# gets only its own bytes.
	my $server = start_server($engine, '--message', '--gap=2s', '-q');
	for my $round (1 .. 3) {
		my $first = dial($server);
		my $bulk = 'A' x (2 << 20);
		is_bytes scalar exchange($first, $bulk, undef), $bulk,
		    "$engine: a bulk stream ends at a pause";
		put($first, 'A' x (1 << 20));
		my $second = dial($server);
		my $other = pattern(2 << 20);
		is_bytes scalar exchange($second, $other, length $other),
		    $other, "$engine: the next one gets its own bytes";
		close $_ for $first, $second;
	}
	$server->stop;

	# With -v each read is logged, including the reads of a bulk stream.
	$server = start_server($engine, '-v');
	my $bulk = pattern(2 << 20);
	is_bytes scalar exchange(dial($server), $bulk, undef,
	    half_close => 1), $bulk, "$engine: a bulk stream with -v";
	$server->wait_log(qr/ closed after /);
	my ($read, $log) = (0, $server->log);
	$read += $1 while $log =~ / read (\d+) bytes? /g;
	is $read, length $bulk, "$engine: the log has all its reads";
	$server->stop;
}

done_testing;
