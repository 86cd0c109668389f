# The package for Debian (contrib/debian), built from make dist: what is in it,
# that its program works, and that lintian has no objection.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

# Its own tests (check-quick) are left out, because the other files run them.
# Without optimization the compiler takes a third of the time.
local $ENV{DEB_BUILD_OPTIONS} = 'nocheck noopt parallel=2';
local $ENV{DEB_BUILD_PROFILES} = 'nocheck';
# dpkg chooses the compiler and its flags.
delete @ENV{qw(CC CPPFLAGS LDFLAGS LDLIBS)};

my $tmp = File::Temp->newdir;
my ($version) = run_echo('--version')->{out} =~ /^echo (\S+)/;
my $made = run_make(in_tree(''), 'dist', "OUT=$tmp");
is $made->{status}, 0, 'make dist succeeds';
my $source = "$tmp/echo-$version";
run_command('tar', '-xzf', "$source.tar.gz", '-C', "$tmp");
run_command('cp', '-r', "$source/contrib/debian", $source);
my @in_source = ('env', '-C', $source);

my $lacking = run_command(@in_source, 'dpkg-checkbuilddeps');
if ($lacking->{status} != 0) {
	my ($why) = $lacking->{err} =~ /(Unmet build depend\w+: .*)/i;
	SKIP: { skip $why // 'there is no dpkg-dev', 1 }
	done_testing;
	exit;
}

my $build = run_outside_make(@in_source, qw(dpkg-buildpackage -b --no-sign));
is $build->{status}, 0, 'dpkg-buildpackage succeeds' or
    diag substr $build->{err}, -2000;
unlike $build->{err}, qr/\bwarning:/, 'without a warning of the compiler';
my @compiled = $build->{out} =~ /^(.* -c -o \S+ \S+\.c)$/mg;
cmp_ok @compiled, '>', 50, 'the log has the commands of the compiler';
is scalar(grep { !/ -ffile-prefix-map=/ || !/ -Werror=format-security/ }
    @compiled), 0, 'all of them have the flags of Debian';

my ($package) = glob "$tmp/echo-tools_${version}_*.deb";
ok $package, 'the package has the version of the program' or
    BAIL_OUT("no package in $tmp");
my $root = "$tmp/root";
is run_command('dpkg-deb', '-x', $package, $root)->{status}, 0,
    'it can be unpacked';
my $found = run_command(qw(find), $root, qw(! -type d -printf %P\n))->{out};
my @links = values %{ { modes() } };
my ($units) = $found =~ m{^((?:usr/)?lib/systemd/system)/}m;
my @documents = grep { m{^usr/share/doc/} } split /\n/, $found;
is join("\n", sort grep { !m{^usr/share/doc/} } split /\n/, $found),
    join("\n", sort 'usr/libexec/echo/echo',
    'usr/share/zsh/vendor-completions/_echo_server',
    (map { "$units/echo$_" } qw(.service .socket @.service)),
    map { ("usr/bin/$_", "usr/share/man/man1/$_.1.gz",
    "usr/share/bash-completion/completions/$_") } @links),
    'it has all programs, manual pages, completions and units';
is scalar(grep { !m{^usr/share/doc/echo-tools/} } @documents), 0,
    'its documents are in its own folder';
for my $name (qw(README changelog copyright doc/servers doc/others)) {
	ok scalar(grep { m{/echo-tools/$name(?:\.gz)?$} } @documents),
	    "$name is one of them";
}
is join(' ', map { slurp("$root/$units/echo$_.service") =~
    /^ExecStart=(\S+)/mg } '', '@'),
    '/usr/bin/echo_server /usr/bin/echo_server',
    'the units start the program of the package';
my $script = run_command('dpkg-deb', '-I', $package, 'postinst')->{out};
like $script, qr/ debian-installed 'echo\.socket'; then/,
    'a unit is enabled again only if it was enabled before';

my $server = start_command({ name => 'the package' },
    "$root/usr/bin/echo_server", '--epoll', '--port=0');
is run_command("$root/usr/bin/echo_client", '-p', $server->port,
    'from a package')->{out}, "from a package\n", 'its programs work';
$server->stop;

SKIP: {
	skip 'there is no lintian', 1
	    if run_command('lintian', '--version')->{status} != 0;
	my $lintian = run_command(qw(lintian --allow-root --fail-on),
	    'error,warning', glob "$tmp/echo-tools_${version}_*.changes");
	is $lintian->{status} . $lintian->{out} . $lintian->{err}, '0',
	    'lintian has no objection';
}

done_testing;
