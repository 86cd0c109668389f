# The static program is small, and every mode works without any other file, in
# an empty folder under chroot. The commands of the container image work there,
# too.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Copy qw(copy);
use File::Temp ();
use Test::More;

plan skip_all => 'there is no musl-gcc (Debian: musl-tools)'
    if run_command('musl-gcc', '--version')->{status} != 0;

my $made = run_make(in_tree(''), 'static');
is $made->{status}, 0, 'make static succeeds';
is $made->{err}, '', 'it prints no warning';
my $static = in_tree('build/static/echo');
# 160 KiB in version 1.0.0; since then the options are a table, of which --help
# is made by code that wraps lines, and signals arrive through a pipe (168 KiB).
# syslog(3), for a server that inetd starts, brings 8 KiB of libc; the rest is
# for socket files, terminals and clearer messages (184 KiB). check --start runs a
# server and ends all of its processes, for which it reads /proc (192 KiB). faulty
# is a mode of its own (200 KiB), and check --client runs clients (216 KiB).
# The models with which check proves the mistake of a server take 20 KiB (236 KiB).
# UDP in serve, send, check, bench and faulty takes 30 KiB (272 KiB), and the
# schedule, the search and the distribution of bench 6 KiB (278 KiB). What check
# says about the end of a connection takes 2 KiB (280 KiB). The engine with
# io_uring, whose requests and completions the program handles itself, takes 4 KiB
# (284 KiB).
cmp_ok -s $static, '<=', 284 * 1024, 'the program has at most 284 KiB';

# With glibc the list comes from getservent(3), with musl from the file.
SKIP: {
	skip 'there is no services database', 1 unless -e '/etc/services';
	is run_command($static, qw(ports 0-65535))->{out},
	    run_echo(qw(ports 0-65535))->{out},
	    'it lists the same services as the other program';
}

# The backlog is as long as the system allows.
SKIP: {
	my $allowed = slurp('/proc/sys/net/core/somaxconn');
	skip 'the system allows a backlog of less than 400', 1
	    if $allowed < 400;
	at_most(5, sub {
		my $busy = start_command({ name => 'static' }, $static,
		    'serve', '-q', '--port=0');
		my @waiting;
		my $took = seconds_of(sub {
			@waiting = map { dial($busy) } 1 .. 300
		});
		$busy->signal('KILL');
		$busy->wait;
		return $took;
	}, '300 clients fit in the backlog');
}

# The fork(2) of musl is used to replace a worker, too.
subtest 'a worker that is killed' => sub {
	my $server = start_command({ name => 'static' }, $static, 'serve',
	    '-q', '--epoll', '--workers=2', '--port=0');
	my ($victim) = $server->workers;
	$server->allow(qr/worker $victim was killed by signal 9/);
	kill KILL => $victim;
	ok $server->wait_log(qr/worker $victim was killed/),
	    'the log reports it';
	wait_until(sub { $server->workers == 2 });
	is scalar(grep { $_ != $victim } $server->workers), 2,
	    'another takes its place';
	is exchange(dial($server), 'on', undef, half_close => 1), 'on',
	    "client $_ is then served" for 1 .. 4;
	$server->stop;
};

my $root = File::Temp->newdir;
copy $static, "$root/echo" or die $!;
chmod 0755, "$root/echo" or die $!;
my @alone = chroot_prefix($root);

sub alone { run_command(@alone, '/echo', @_) }

SKIP: {
	skip 'chroot is not permitted', 1 unless @alone;
	my %modes = modes();
	is alone($_, '--help')->{out}, run_echo($_, '--help')->{out},
	    "help $_ is the same" for system_has('linux') ?
	    sort keys %modes : ();

	my $ports = alone(qw(ports 7));
	is $ports->{out}, "7/tcp  echo\n7/udp  echo\n",
	    'ports works without /etc/services';
	like $ports->{err}, qr{^echo ports: /etc/services: [^\n]+\n\z},
	    'it says that the file is missing';
	for my $engine (engines()) {
		subtest $engine => sub {
			my $server = start_command({ name => "static $engine" },
			    @alone, '/echo', 'serve', split(' ', $engine),
			    '--port=0');
			my @port = ('-p', $server->port);
			is alone('send', @port, 'all alone')->{out},
			    "all alone\n", 'send and serve work';
			is alone('check', '--profile=homework',
			    @port)->{status}, 0, 'check works';
			like alone('bench', '-d100ms', @port)->{out},
			    qr/^  round trips\/s +\d/m, 'bench works';
			$server->stop;
		};
	}

	my @serve = map { exec_form('Dockerfile', $_) } qw(ENTRYPOINT CMD);
	my @ask = exec_form('Dockerfile', 'HEALTHCHECK.*?CMD');
	my $image = start_command({ name => 'the image' }, @alone,
	    @serve, '--port=0');
	is run_command(@alone, @ask, '--port=' . $image->port)->{status}, 0,
	    'the health check of the image succeeds';
	$image->stop;
	my ($holder, $closed) = closed_port();
	my ($port) = $closed =~ /:(\d+)/;
	is run_command(@alone, @ask, "--port=$port")->{status}, 4,
	    'without a server the health check fails';
}

done_testing;
