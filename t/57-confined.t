# What a server gives up once it listens: root (--user) and the system calls
# that serving does not take. That it can serve with the rest, all other tests
# show; what each call does, t/sandbox.c.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

# A field of /proc/PID/status, of each process of a server.
sub status {
	my ($server, $field) = @_;
	return map { slurp("/proc/$_/status") =~ /^$field:\s*(.*)/m ? $1 : '' }
	    $server->pid, $server->workers;
}

SKIP: {
	skip 'no sandbox in a build with a sanitizer', 1 if sanitized();
	skip 'no seccomp here', 1
	    unless slurp('/proc/self/status') =~ /^Seccomp:/m;
	for my $engine (engines()) {
		my $server = start_server($engine);
		is exchange(dial($server), 'x', 1), 'x', $engine for 1 .. 4;
		my @all = status($server, 'Seccomp');
		is "@all", join(' ', (2) x @all),
		    "$engine: each of its processes is in a sandbox";
		@all = status($server, 'NoNewPrivs');
		is "@all", join(' ', (1) x @all),
		    "$engine: and gains no rights by exec";
		$server->stop;

		my @before = split ' ',
		    slurp('/proc/self/status') =~ /^Seccomp:\s*(\d)/m ? $1 : '';
		$server = start_server($engine, '--no-sandbox');
		is exchange(dial($server), 'x', 1), 'x', $engine;
		@all = status($server, 'Seccomp');
		is "@all", join(' ', (@before) x @all),
		    "$engine: --no-sandbox: it is in none";
		$server->stop;
	}
}

SKIP: {
	if ($> != 0) {
		my $run = run_echo('serve', '-p0', '--user=root');
		is $run->{status}, 7, '--user=root, without being it: exit 7';
		like $run->{err}, qr/\A.*cannot become the user "?root"?: .* \(only root can\)\n\z/,
		    'and one line';
		skip 'only root can become another user', 1;
	}
	my ($name, $uid, $gid) = (getpwnam 'nobody')[0, 2, 3];
	skip 'there is no user nobody', 1 unless defined $uid;
	for my $engine (engines()) {
		my $server = start_server($engine, "--user=$name");
		is exchange(dial($server), 'x', 1), 'x',
		    "$engine: --user=$name: it serves";
		is_deeply [ status($server, 'Uid') ],
		    [ (join "\t", ($uid) x 4) x (1 + $server->workers) ],
		    "$engine: by that user in every way";
		is_deeply [ status($server, 'Gid') ],
		    [ (join "\t", ($gid) x 4) x (1 + $server->workers) ],
		    "$engine: and that group";
		unlike join(' ', status($server, 'Groups')), qr/\b0\b/,
		    "$engine: without root's other groups";
		is_deeply [ status($server, 'CapEff') ],
		    [ ('0' x 16) x (1 + $server->workers) ],
		    "$engine: and can do nothing that root can";
		$server->stop;
	}
	# A port that only root may have, from before.
	my $server = eval { start_server('-a', '127.0.0.1:7', "--user=$name") };
	skip 'port 7 is taken', 1 unless $server;
	is exchange(dial($server), 'seven', 5), 'seven', 'port 7, by nobody';
	$server->stop;
}

done_testing;
