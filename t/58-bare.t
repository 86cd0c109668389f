# A bare system: /proc and /etc are empty, and no file can be written. A feature
# that cannot work on such a system reports this; everything else works.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

plan skip_all => 'a sanitizer needs files that are missing' if sanitized();

my $unshare = $> == 0 ? 'unshare -m' : 'unshare -rm';
my @bare = ('sh', '-c', "exec $unshare sh -c 'mount -t tmpfs none /etc && " .
    'mount -t tmpfs none /proc && mount -o remount,bind,ro / && ' .
    'exec "$@"\' sh "$@"', 'sh');

my $missing = run_echo({ command => 'sh', wrap => \@bare }, '-c',
    'test -e /proc/self || test -e /etc/services || : >/x');
plan skip_all => 'a mount namespace cannot be created'
    if $missing->{err} !~ /^sh: .*\/x/;

for my $engine (engines_but('--select')) {
	subtest $engine => sub {
		my $server = start_server({ wrap => \@bare }, $engine);
		is exchange(dial($server), 'bare', 4), 'bare',
		    'a client is served';
		my $run = run_echo({ wrap => \@bare }, 'send', '-a',
		    $server->address, 'hello');
		is "$run->{status} $run->{out}", "0 hello\n",
		    'echo send succeeds';
		$run = run_echo({ wrap => \@bare }, 'check',
		    '--profile=homework', $server->address);
		is $run->{status}, 0, 'echo check finds no fault';
		$server->stop;
	};
}

my $run = run_echo({ wrap => \@bare }, 'ports');
is $run->{status}, 0, 'echo ports uses its built-in list';
like $run->{out}, qr/^22\/tcp +ssh$/m, 'it lists ssh';
like $run->{err}, qr/\Aecho ports: [^\n]*\/etc\/services[^\n]*\n\z/,
    'one line names the missing file';
$run = run_echo({ wrap => \@bare }, 'serve', '-a', 'localhost:http');
is $run->{status}, 2, 'a service name instead of a port: exit 2';
like $run->{err}, qr/\A[^\n]*"http" is not a port[^\n]*\n\z/,
    'one line names it';

done_testing;
