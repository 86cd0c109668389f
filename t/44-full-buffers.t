# Bulk data when a known number of bytes waits for the server. The test runs in
# a network namespace, where a receive buffer holds a megabyte and a send buffer
# is small or large.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my $missing = in_own_network(tcp_rmem => '2097152 2097152 4194304');
plan skip_all => $missing if $missing;

my @parallel = grep { !/workers/ } parallel_engines();
use constant READ => 65536;	# the largest read, of which a bulk stream has 4

# Sends n reads of bytes to a server that is stopped meanwhile, so that it finds
# all of them at once.
sub put_at_once {
	my ($server, $sock, $bytes) = @_;
	kill STOP => $server->processes;
	my $sent = put($sock, $bytes);
	kill CONT => $server->processes;
	return $sent;
}

# The server ends a bulk stream because the client pauses. Then the client sends
# more bytes. The server discards these bytes, and must not send them to the
# next client.
for my $engine (@parallel) {
	subtest "$engine: the bytes of another client" => sub {
		my $server = start_server($engine, '--message', '--gap=2s',
		    '-q');
		my $first = dial($server);
		my $bulk = 'A' x (4 * READ);
		put_at_once($server, $first, $bulk);
		is_bytes scalar get_all($first), $bulk,
		    'the first stream ends at a pause';
		ok put($first, 'A' x (2 * READ)), 'it sends more';
		my $second = dial($server);
		my $other = pattern(6 * READ);
		put_at_once($server, $second, $other);
		is_bytes scalar get($second, length $other), $other,
		    'the second stream gets its own bytes';
		close $_ for $first, $second;
		$server->stop;
	};
}

# The flags of the last send of a server that has one read of output pending
# and nothing more to read.
sub last_send {
	my ($engine) = @_;
	my $tmp = File::Temp->newdir;
	my $server = start_command(trace_sends("$tmp/trace"),
	    program(), 'serve', $engine, '--stream', '-q',
	    '--port=0');
	my ($traced) = split ' ', slurp('/proc/' . $server->pid . '/task/' .
	    $server->pid . '/children');
	my $sock = dial_small($server);
	my $block = pattern(READ);
	kill STOP => $traced;
	put($sock, $block);
	kill CONT => $traced;
	wait_until(sub { slurp("$tmp/trace") =~ /^send/m });
	is_bytes scalar get($sock, length $block), $block,
	    "$engine: all bytes come back";
	kill TERM => $traced;
	close $sock;
	$server->wait;
	my @flags = flags_of_sends("$tmp/trace");
	return ($flags[-1], scalar @flags);
}

SKIP: {
	skip 'no strace here that may trace', 3 * @parallel
	    if run_command('strace', '-e', 'trace=none', 'true')->{status};
	in_own_network(tcp_wmem => '4096 4096 4096');
	for my $engine (@parallel) {
		my ($flags, $n) = last_send($engine);
		is_between $n, 2, READ, "$engine: output was pending";
		is $flags, 'MSG_DONTWAIT|MSG_NOSIGNAL',
		    "$engine: the end of pending output leaves without delay";
	}
}

done_testing;
