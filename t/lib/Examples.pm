package Examples;

# What the texts in doc/ have the reader do, done to a copy of the tree: the
# files that they give in full, the lines that go and come.
#
# A change is a block of a text, marked diff: "--- FILE" and then lines with a
# space, - or + in front, which have to be found in FILE as they stand there,
# once. No line numbers, which would be wrong tomorrow; "@@" where another
# place of the same file follows.

use strict;
use warnings;

use EchoTest;
use Exporter qw(import);
use File::Temp ();

our @EXPORT = qw(change changes copy_tree make_in new_files write_file);

sub write_file {
	my ($path, $text) = @_;
	open my $f, '>:raw', $path or die "$path: $!";
	print $f $text;
	close $f or die "$path: $!";
}

# A folder with copies of those files and folders of the tree.
sub copy_tree {
	my $dir = File::Temp->newdir;
	my $run = run_command('cp', '-R', map({ in_tree($_) } @_), "$dir");
	$run->{status} == 0 or die $run->{err};
	return $dir;
}

# The user's own compiler, and for the rest what is quick.
sub make_in {
	my ($dir, @goals) = @_;
	return run_make($dir, '-j2', 'OUT=.', 'CFLAGS=-O0', 'LDFLAGS=',
	    'HARDENING=', @goals);
}

sub changes { $_[0] =~ /^```diff\n(.*?)^```$/msg }

# The files given in full: { path => content }.
sub new_files {
	my ($text) = @_;
	return { $text =~ /^\*\*(\S+)\*\*[^\n]*\n\n```\w*\n(.*?)^```$/msg };
}

# Applies a change; dies if a place is not there, or there twice.
sub change {
	my ($dir, $diff) = @_;
	for my $of_file (split /^(?=--- )/m, $diff) {
		my ($file, $rest) = $of_file =~ /^--- (\S+)\n(.*)/s
		    or die "no change: $of_file";
		my $text = slurp("$dir/$file");
		for my $place (split /^\@\@\n/m, $rest) {
			my $old = join '', $place =~ /^[ -](.*\n)/mg;
			my $new = join '', $place =~ /^[ +](.*\n)/mg;
			my $found = () = $text =~ /^\Q$old\E/mg;
			$found == 1 or
			    die "$file: found $found times, not once:\n$old";
			$text =~ s/^\Q$old\E/$new/m;
		}
		write_file("$dir/$file", $text);
	}
}

1;
