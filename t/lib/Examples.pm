package Examples;

# Applies the examples of the texts in doc/ to a copy of the tree: the files
# that a text gives in full, and its changes.
#
# A change is a block that is marked diff: a line "--- FILE" and then lines that
# begin with a space, - or +. The lines with a space or - must occur in FILE
# exactly once. There are no line numbers, because they would soon be wrong.
# "@@" comes before another place in the same file.

use strict;
use warnings;

use EchoTest;
use Exporter qw(import);
use File::Temp ();

our @EXPORT = qw(change changes copy_objects copy_tree make_in new_files
    write_file);

sub write_file {
	my ($path, $text) = @_;
	open my $f, '>:raw', $path or die "$path: $!";
	print $f $text;
	close $f or die "$path: $!";
}

# Copies files and folders of the tree to a new folder and returns it.
sub copy_tree {
	my $dir = File::Temp->newdir;
	my $run = run_command('cp', '-Rp', map({ in_tree($_) } @_), "$dir");
	$run->{status} == 0 or die $run->{err};
	return $dir;
}

# Copies the objects of the tested program, so that make compiles only newer
# files. Returns whether there were objects; objects that were built with
# PORTABLE or KQUEUE cannot be used.
sub copy_objects {
	my ($to) = @_;
	my $engines = join ' ', engines();
	return 0 if $engines !~ /--epoll/ || $engines =~ /--kqueue/;
	my $from = ($ENV{ECHO_DIR} // in_tree('.')) . '/build';
	mkdir "$to/build";
	return run_command('cp', '-Rp', "$from/modes", "$from/echo.o",
	    "$to/build")->{status} == 0;
}

# Runs make in a folder with the user's compiler and options that build quickly.
sub make_in {
	my ($dir, @goals) = @_;
	return run_make($dir, '-j2', 'OUT=.', 'CFLAGS=-O0', 'LDFLAGS=',
	    'HARDENING=', @goals);
}

# The changes in a text, in order.
sub changes { $_[0] =~ /^```diff\n(.*?)^```$/msg }

# The files that a text gives in full: { path => content }.
sub new_files {
	my ($text) = @_;
	return { $text =~ /^\*\*(\S+)\*\*[^\n]*\n\n```\w*\n(.*?)^```$/msg };
}

# Applies a change to the files in a folder. Dies if the lines of a place do not
# occur exactly once.
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
