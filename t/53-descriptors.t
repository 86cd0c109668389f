# Without free descriptors the server refuses a waiting client after a pause,
# and accepts again as soon as another client leaves.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep time);

# A server without a free descriptor, and the clients that hold them.
sub full_server {
	my ($engine) = @_;
	my $server = start_server($engine, '--stream', '--idle=0');
	$server->allow(qr/^echo serve: cannot accept, pausing: /);
	my $open = descriptors_of($server->pid);
	$server->limit_descriptors($open + 2) or return;
	my @socks = map { connected($server) } 1 .. 2;
	return ($server, @socks);
}

sub connected {
	my ($server) = @_;
	my $sock = dial($server);
	is exchange($sock, 'x', 1), 'x', 'a client is served';
	return $sock;
}

for my $engine (grep { !/blocking|workers/ } engines()) {
	subtest $engine => sub {
		my ($server, @socks) = full_server($engine);
		plan skip_all => 'no prlimit(1) here' unless $server;

		for my $n (1 .. 3) {
			my $refused = dial($server);
			my ($back, $end) = get_all($refused);
			isnt $end, 'late', "client $n without a descriptor " .
			    'for it is refused';
		}

		# A client that leaves makes room at once, without the pause.
		# The first failure to accept does not refuse the client.
		my @seconds;
		my $leave = sub {
			my $waiting = dial($server);
			put($waiting, 'y');
			select undef, undef, undef, 0.05;
			my $start = time;
			close shift @socks;
			my $got = get($waiting, 1);
			push @seconds, time - $start;
			push @socks, $got eq 'y' ? $waiting :
			    connected($server);
			return $got eq 'y' && $seconds[-1] < 0.3;
		};
		# Twice in a row: the second time shows that the server has
		# forgotten the first.
		ok measure_again(sub { $leave->() && $leave->() },
		    sub { $_[0] }),
		    'a client that leaves makes room at once' or
		    diag "seconds: @seconds";

		# No client waits: there is nothing to warn of. (A second
		# after the last warning, the next one would not be suppressed.)
		select undef, undef, undef, 1.2;
		my $before = () = $server->log =~ /cannot accept/g;
		$server->signal('TERM');
		$server->wait_log(qr/^stopping/m);
		close $_ for @socks;
		$server->stop(undef);
		my $after = () = $server->log =~ /cannot accept/g;
		is $after, $before, 'SIGTERM causes no warning';
	};
}

done_testing;
