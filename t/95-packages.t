# The packages for Alpine Linux and for Homebrew, without these systems: a POSIX
# shell and Ruby run the functions of the two files that install, with the
# program of this tree. (t/95-debian.t builds the package for Debian.)
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my $tree = in_tree('');
my ($version) = run_echo('--version')->{out} =~ /^echo (\S+)/;
my $is_built = ($ENV{ECHO_DIR} // '.') eq '.' &&
    run_make($tree, '-q', 'all')->{status} == 0;

# Each package has the version of the program.
my $alpine = in_tree('contrib/alpine/APKBUILD');
my $formula = in_tree('contrib/homebrew/echo-tools.rb');
my %version_in = (
	$alpine => qr/^pkgver=(.*)$/m,
	$formula => qr{^  url ".*/echo-(.*)\.tar\.gz"$}m,
	in_tree('contrib/debian/changelog') => qr/\A[\w-]+ \((.*?)\)/
);
for my $file (sort keys %version_in) {
	my ($found) = slurp($file) =~ $version_in{$file};
	is $found, $version, "$file has the version of the program";
}

# Asserts that a folder has what make install puts there.
sub has_all {
	my ($root, @paths) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @missing = grep { !-s "$root/$_" } 'libexec/echo/echo',
	    'bin/echo_server', 'share/man/man1/echo_server.1', @paths;
	is "@missing", '', 'it has the program and its files';
	like run_command("$root/bin/echo_server", '--version')->{out},
	    qr/^echo \Q$version\E /, 'its links work';
}

# The commands of Alpine Linux are those of busybox.
my $applets = File::Temp->newdir;
for my $shell ('sh', "$applets/sh") {
	my $name = $shell eq 'sh' ? 'this system' : 'busybox';
	subtest "Alpine Linux, with the commands of $name" => sub {
		local $ENV{PATH} = $ENV{PATH};
		if ($shell ne 'sh') {
			plan skip_all => 'there is no busybox' if run_command(
			    qw(busybox --install -s), "$applets")->{status};
			$ENV{PATH} = "$applets:$ENV{PATH}";
		}
		plan skip_all => 'make would have to build' unless $is_built;
		my $root = File::Temp->newdir;
		my $functions = 'set -eu; srcdir=/nowhere; pkgdir=$2; . "$1"; ' .
		    'test "$builddir" = "/nowhere/echo-$pkgver"; cd "$3"; ' .
		    'build; package';
		my $run = run_outside_make($shell, '-c', $functions,
		    'sh', $alpine, "$root", $tree);
		is $run->{status}, 0, 'build and package succeed';
		has_all("$root/usr", 'share/doc/echo-tools/README');
	};
}

# What Homebrew defines before it loads a formula, as far as this one uses it,
# and then the two things that it does with it.
my $homebrew = <<'END';
require "pathname"
class Formula
  class << self
    def desc(_) = nil
    def homepage(_) = nil
    def url(_) = nil
    def license(_) = nil
    def test(&block) = define_method(:run_test, &block)
  end
  def prefix = Pathname.new($prefix)
  def bin = prefix/"bin"
  def doc = prefix/"share/doc/echo-tools"
  def man = prefix/"share/man"
  def bash_completion = prefix/"etc/bash_completion.d"
  def zsh_completion = prefix/"share/zsh/site-functions"
  def system(*command)
    Kernel.system(*command.map(&:to_s), exception: true)
  end
end
formula, $prefix = ARGV
load formula
echo_tools = EchoTools.new
echo_tools.install
echo_tools.run_test
END

subtest 'Homebrew' => sub {
	plan skip_all => 'there is no ruby of version 3'
	    if run_command('ruby', '-e', 'def a = 1')->{status} != 0;
	is run_command(qw(ruby -wc), $formula)->{out}, "Syntax OK\n",
	    'ruby understands the formula';
	SKIP: {
		skip 'make would have to build', 1 unless $is_built;
		my $prefix = File::Temp->newdir;
		my $run = run_outside_make('env', '-C', $tree, 'ruby', '-e',
		    $homebrew, $formula, "$prefix");
		is $run->{status}, 0,
		    'the formula installs, and its test passes';
		has_all("$prefix", qw(share/doc/echo-tools/README
		    etc/bash_completion.d/echo_server));
	}
};

done_testing;
