# The static program: small, and every mode works where there is nothing else,
# in an empty folder under chroot; so do the commands of the image.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Copy qw(copy);
use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'no musl-gcc here (on Debian: musl-tools)'
    if run_command('musl-gcc', '--version')->{status} != 0;

my $out = File::Temp->newdir;
my $made = run_make(in_tree(''), 'static', "OUT=$out");
is $made->{status}, 0, 'make static' or diag show($made->{err}, 3000);
is $made->{err}, '', 'without a warning';
my $static = "$out/build/static/echo";
# 160 KiB in version 1.0.0; since then the options are a table, of which --help
# is made by code that wraps lines, and signals arrive through a pipe.
cmp_ok -s $static, '<=', 168 * 1024, 'the program has at most 168 KiB';

# glibc asks getservent(3) for them, this one reads the file.
SKIP: {
	skip 'no services database here', 1 unless -e '/etc/services';
	is run_command($static, qw(ports 0-65535))->{out},
	    run_echo(qw(ports 0-65535))->{out}, 'the same list of services';
}

# As many may wait to be accepted as the system allows.
SKIP: {
	my $allowed = slurp('/proc/sys/net/core/somaxconn');
	skip 'the system allows no more than 300 to wait', 1 if $allowed < 400;
	my $busy = start_command({ name => 'static' }, $static, 'serve', '-q',
	    '--port=0');
	my $start = time;
	my @waiting = map { dial($busy) } 1 .. 300;
	cmp_ok time - $start, '<', 5, 'that many wait in its queue';
	$busy->signal('KILL');
	$busy->wait;
}

# A worker that dies is replaced by whatever fork(2) this libc makes.
{
	my $server = start_command({ name => 'static' }, $static, 'serve',
	    '-q', '--epoll', '--workers=2', '--port=0');
	my ($victim) = $server->workers;
	$server->allow(qr/worker $victim was killed by signal 9/);
	kill KILL => $victim;
	ok $server->wait_log(qr/worker $victim was killed/),
	    'a worker is killed';
	my $until = time + $DEADLINE;
	sleep 0.01 until $server->workers == 2 || time > $until;
	is scalar(grep { $_ != $victim } $server->workers), 2,
	    'and replaced';
	is exchange(dial($server), 'on', undef, half_close => 1), 'on',
	    'so that it serves on' for 1 .. 4;
	$server->stop;
}

my $root = File::Temp->newdir;
copy $static, "$root/echo" or die $!;
chmod 0755, "$root/echo" or die $!;
my @alone = chroot_prefix($root);

sub alone { run_command(@alone, '/echo', @_) }

SKIP: {
	skip 'no chroot for us here', 1 unless @alone;
	my %modes = modes();
	is alone($_, '--help')->{out}, run_echo($_, '--help')->{out}, "help $_"
	    for sort keys %modes;

	my $ports = alone(qw(ports 7));
	is $ports->{out}, "7/tcp  echo\n7/udp  echo\n", 'ports';
	like $ports->{err}, qr{^echo ports: /etc/services: [^\n]+\n\z},
	    'which says that the list is its own';
	for my $engine (engines()) {
		my $server = start_command({ name => "static $engine" },
		    @alone, '/echo', 'serve', split(' ', $engine), '--port=0');
		my $sent = alone('send', '-p', $server->port, 'all alone');
		is $sent->{out}, "all alone\n", "$engine: send and serve";
		is alone('check', '--profile=homework', '-p',
		    $server->port)->{status}, 0, "$engine: check";
		like alone('bench', '-d100ms', '-p', $server->port)->{out},
		    qr/^  round trips\/s +\d/m, "$engine: bench";
		$server->stop;
	}

	my @serve = map { exec_form('Dockerfile', $_) } qw(ENTRYPOINT CMD);
	my @ask = exec_form('Dockerfile', 'HEALTHCHECK.*?CMD');
	my $image = start_command({ name => 'the image' }, @alone,
	    @serve, '--port=0');
	push @ask, '--port=' . $image->port;
	is run_command(@alone, @ask)->{status}, 0, 'the image: well';
	$image->stop;
	is run_command(@alone, @ask)->{status}, 4, 'the image: stopped';
}

done_testing;
