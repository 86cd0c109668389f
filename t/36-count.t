# --count is exact, also when several workers accept at the same time.
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

		# Two clients are in the queue of two workers.
		my $served = 0;
		for my $round (1 .. 20) {
			$server = start_server($engine, '--workers=2',
			    '--count=1', '--stream');
			my @workers = $server->workers;
			kill STOP => @workers;
			my @socks = map { dial($server) } 1 .. 2;
			put($_, 'x') for @socks;
			kill CONT => @workers;
			$_->shutdown(1) for @socks;
			$served += grep { get_all($_) eq 'x' } @socks;
			$server->stop(undef);
		}
		is $served, 20, 'one client is served in each of 20 rounds';
	};
}

done_testing;
