# make install, make install-systemd and make uninstall; the commands that make
# shows; make dist, which always produces the same bytes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Examples;
use File::Find;
use File::Path qw(make_path);
use File::Temp ();
use Test::More;

plan skip_all => 'there is no make' if system('make -v >/dev/null 2>&1') != 0;

my $tree = in_tree('');
my $out = $ENV{ECHO_DIR} // '.';

# Runs make in the tree. The program must have been built before.
sub make { run_make($tree, @_) }

sub tree_of {
	my ($dir) = @_;
	my @found;
	find(sub { push @found, $File::Find::name =~ s{^\Q$dir\E}{}r
	    unless -d && !-l }, $dir);
	return join "\n", sort @found;
}

my @links = sort values %{ { modes() } };

# The texts that README names, but not the scripts, and the figure in one of them.
my %texts = map { $_ => 1 } 'doc/engines.svg', grep {
	-f in_tree($_) && slurp(in_tree($_)) !~ /^#!/
} slurp(in_tree('README')) =~ m{(?<![\w/])(doc/[\w.-]*\w)}g;
my @units = map { s{.*/}{}r } glob in_tree('contrib/systemd/*');

SKIP: {
	skip 'make would have to build', 14
	    if $out ne '.' || make('-q', 'all')->{status} != 0;
	my $dest = File::Temp->newdir;
	my @to = ("DESTDIR=$dest", 'PREFIX=/usr');

	# Files that do not belong to the program.
	my @others = map { "/usr/$_" } 'bin/other', 'share/doc/echo/other';
	for (@others) {
		make_path("$dest$_" =~ s{/[^/]+$}{}r);
		open my $f, '>', "$dest$_" or die $!;
	}
	my $wanted = join "\n", sort @others, map { "/usr/$_" }
	    'libexec/echo/echo',
	    (map { "bin/$_" } @links),
	    (map { "share/man/man1/$_.1" } @links),
	    (map { "share/bash-completion/completions/$_" } @links),
	    'share/zsh/site-functions/_echo_server',
	    (map { "share/doc/echo/$_" } qw(CHANGELOG LICENSE README),
	    keys %texts);
	my $with_units = join "\n", sort split(/\n/, $wanted),
	    map { "/usr/lib/systemd/system/$_" } @units;
	{
		my $umask = umask 077;
		is make('install', @to)->{status}, 0, 'make install succeeds';
		umask $umask;
	}
	is tree_of($dest), $wanted, 'it installs all files';
	is make('install', @to)->{status}, 0, 'a second make install succeeds';
	is tree_of($dest), $wanted, 'it changes nothing';
	{
		my $umask = umask 077;
		is make('install-systemd', @to)->{status}, 0,
		    'make install-systemd succeeds';
		umask $umask;
	}
	is tree_of($dest), $with_units, 'it adds the units';
	is join(' ', map { slurp("$dest/usr/lib/systemd/system/$_") =~
	    m{^ExecStart=(\S*/)}mg } @units), '/usr/bin/ /usr/bin/',
	    'they start the program in the folder for programs';
	my $wrong = '';
	find(sub {
		my $mode = -d || m{^echo$} ? 0755 : 0644;
		$wrong .= "$File::Find::name\n"
		    if !-l && $_ ne 'other' && (stat)[2] % 01000 != $mode;
	}, "$dest/usr");
	is $wrong, '', 'all users can read the files, only the owner can write';

	my $link = "$dest/usr/bin/echo_client";
	is readlink $link, '../libexec/echo/echo', 'the links are relative';
	my $run = run_command($link, '--version');
	like $run->{out}, qr/^echo \d/, 'the links work';
	my @absolute = grep { slurp("$dest/usr/$_") =~ /\Q$dest\E/ }
	    split /\n/, tree_of("$dest/usr");
	is "@absolute", '', 'no file contains DESTDIR';

	is make('uninstall', @to)->{status}, 0, 'make uninstall succeeds';
	is tree_of($dest), join("\n", @others), 'it removes what was installed';
	ok !-e "$dest/usr/libexec/echo" && -e "$dest/usr/share/doc/echo",
	    'it removes folders unless they contain other files';
}

# What make shows: a line for each file, or the commands. Those who build packages
# set CFLAGS, and look at the flags in the log.
subtest 'the commands' => sub {
	my $tmp = File::Temp->newdir;
	my $object = "$tmp/build/echo.o";
	my $command = qr/^\S*cc\S* .*-c -o \Q$object\E echo\.c$/m;
	my $line = qr/^printf .* CC \Q$object\E;/m;
	my $shown = sub {
		my ($environment, @args) = @_;
		return run_outside_make('env', @$environment, 'make', '-C',
		    $tree, '-n', "OUT=$tmp", $object, @args)->{out};
	};
	like $shown->([]), $line, 'make shows a line for each file';
	like $shown->([], 'V=1'), $command, 'V=1: the commands';
	like $shown->(['CFLAGS=-O1']), $command,
	    'CFLAGS in the environment: the commands';
	like $shown->([], 'CFLAGS=-O1'), $command,
	    'CFLAGS as an argument: the commands';
	like $shown->(['CFLAGS=-O1'], 'V=0'), $line, 'V=0: lines all the same';
};

# The tarball is made here and again from its own content: in another folder,
# without git, and with another umask, locale and time zone.
{
	my $tmp = File::Temp->newdir;
	my ($version) = run_echo('--version')->{out} =~ /^echo (\S+)/;
	my $tarball = "$tmp/echo-$version.tar.gz";
	is make('dist', "OUT=$tmp")->{status}, 0, 'make dist succeeds';
	my $first = slurp($tarball);
	my @extract = ('tar', '-xzf', $tarball, '-C', "$tmp");
	is run_command(@extract)->{status}, 0,
	    'the tarball has the name of this version';
	my $own = "$tmp/echo-$version";
	# A header that is missing in the tarball makes old objects out of date.
	copy_objects($own);
	my $built = make_in($own);
	is $built->{status} . $built->{err}, '0',
	    'the program builds from it without a warning';
	{
		local @ENV{qw(LC_ALL TZ)} = ('C.UTF-8', 'Asia/Tokyo');
		my $umask = umask 027;
		chmod 0600, "$own/README" and utime 1, 1, "$own/README" or
		    die $!;
		is run_make($own, 'dist')->{status}, 0,
		    'make dist succeeds there';
		umask $umask;
	}
	is_bytes slurp("$own/echo-$version.tar.gz"), $first,
	    'its tarball has the same bytes';
	local $ENV{ECHO_DIR};
	delete $ENV{ECHO_DIR};
	is run_command($^X, "$own/t/10-dispatch.t")->{status}, 0,
	    'a test of the tarball passes';
}

done_testing;
