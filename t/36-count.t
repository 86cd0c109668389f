# --count is exact, even if several workers accept at the same time.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

for my $engine (grep { !/workers/ } engines()) {
	subtest $engine => sub {
		my $server = start_server($engine, '--workers=3', '--count=1',
		    '--stream');
		my $sock = dial($server);
		is exchange($sock, 'x', 1), 'x', 'the only client is served';
		ok refuses_connections($server),
		    'the next one is refused at once, by all workers';
		close $sock;
		$server->stop(undef);

		# Two workers accept before either has counted its client.
		SKIP: {
			skip 'no strace here that can delay a call', 1
			    if run_command('strace', '-f', '-e',
			    'inject=accept,accept4:delay_exit=1',
			    'true')->{status};
			$server = start_command('strace', '-f', '-qq', '-o',
			    '/dev/null', '-e',
			    'inject=accept,accept4:delay_exit=700000', program(),
			    'serve', $engine, '--workers=2', '--count=1',
			    '--stream', '--port=0');
			$server->allow(qr/^\S+ closed after 0 bytes/);
			my @socks = map { dial($server) } 1 .. 2;
			put($_, 'x') for @socks;
			$_->shutdown(1) for @socks;
			my $served = grep { get_all($_) eq 'x' } @socks;
			is $served, 1, 'one of two clients is served';
			$server->wait;
			like $server->log, qr/^served 1 client, 1 byte$/m,
			    'and the totals say so';
		}
	};
}

done_testing;
