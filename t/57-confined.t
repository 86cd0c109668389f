# The privileges that a server drops after it has started to listen: those of
# root (--user) and the system calls that it does not need. All other tests show
# that the server can serve with the remaining calls; t/sandbox.c tests the
# calls one by one.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

# A field of /proc/PID/status, for each process of a server.
sub status {
	my ($server, $field) = @_;
	return map { slurp("/proc/$_/status") =~ /^$field:\s*(.*?)\s*$/m ? $1 : '' }
	    $server->processes;
}

# Asserts that a field has the same value in all processes of a server.
sub all_have {
	my ($server, $field, $value, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply [ status($server, $field) ],
	    [ ($value) x (() = $server->processes) ], $name;
}

SKIP: {
	skip 'a build with a sanitizer has no sandbox', 1 if sanitized();
	skip 'this system has no sandbox', 1 unless system_has('sandbox');
	my ($own) = slurp('/proc/self/status') =~ /^Seccomp:\s*(\d)/m or
	    skip 'the kernel has no seccomp', 1;
	for my $engine (engines()) {
		subtest "$engine: the sandbox" => sub {
			my $server = start_server($engine);
			is exchange(dial($server), 'x', 1), 'x',
			    "client $_ is served" for 1 .. 4;
			all_have($server, 'Seccomp', 2,
			    'each process has a filter for system calls');
			all_have($server, 'NoNewPrivs', 1,
			    'no process can gain rights by exec');
			$server->stop;

			$server = start_server($engine, '--no-sandbox');
			is exchange(dial($server), 'x', 1), 'x',
			    '--no-sandbox: a client is served';
			all_have($server, 'Seccomp', $own,
			    '--no-sandbox: there is no filter');
			$server->stop;
		};
	}
}

# A port below 1024 that is free, with a server on it.
sub start_on_low_port {
	for (1 .. 20) {
		my $port = 512 + int rand 512;
		my $server = eval { start_server('-a', "127.0.0.1:$port", @_) };
		return $server if $server;
	}
	return;
}

SKIP: {
	if ($> != 0) {
		my $run = run_echo('serve', '-p0', '--user=root');
		is $run->{status}, 7, '--user without being root: exit 7';
		like $run->{err}, qr/\A.*cannot become the user "?root"?: .* \(only root can\)\n\z/,
		    'and one line says so';
		skip 'only root can become another user', 1;
	}
	my ($name, $uid, $gid) = (getpwnam 'nobody')[0, 2, 3];
	skip 'there is no user nobody', 1 unless defined $uid;
	for my $engine (engines()) {
		subtest "$engine --user=$name" => sub {
			my $server = start_server($engine, "--user=$name");
			is exchange(dial($server), 'x', 1), 'x',
			    'a client is served';
			all_have($server, 'Uid', join("\t", ($uid) x 4),
			    'each process has only the ids of that user');
			all_have($server, 'Gid', join("\t", ($gid) x 4),
			    'and only the ids of its group');
			unlike join(' ', status($server, 'Groups')), qr/\b0\b/,
			    'no process is in another group of root';
			all_have($server, 'CapEff', '0' x 16,
			    'no process has a capability of root');
			$server->stop;
		};
	}
	# Additional groups of the user that starts the server.
	my @with_groups = ('setpriv', '--groups=4,20,24');
	SKIP: {
		skip 'no setpriv(1) here', 1
		    if run_command(@with_groups, 'true')->{status} != 0;
		my $server = start_server({ wrap => \@with_groups },
		    "--user=$name");
		is exchange(dial($server), 'x', 1), 'x', 'a client is served';
		all_have($server, 'Groups', $gid,
		    'no process keeps another group');
		$server->stop;
	}
	# A process that could become root again must end.
	my @keeps = ('setpriv', '--securebits=+no_setuid_fixup');
	SKIP: {
		skip 'no setpriv(1) here that sets securebits', 1
		    if run_command(@keeps, 'true')->{status} != 0;
		my $run = run_echo({ wrap => \@keeps, deadline => 20 },
		    'serve', '-p0', '--count=1', "--user=$name");
		is $run->{status}, 7,
		    'a server that could become root again exits 7';
	}
	my $server = start_on_low_port("--user=$name");
	skip 'no port below 1024 was free', 1 unless $server;
	is exchange(dial($server), 'low', 3), 'low',
	    'a port that needs root is bound before --user';
	$server->stop;
}

done_testing;
