# The structure of the sources, read as text: which file includes which, where
# each function is defined, how long the files are, and whether comments, help
# and manual are in plain English. Each failure lists the offenders.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

# Every C file of the program, by its path from the top of the tree.
my %source = map { $_ => slurp(in_tree($_)) } files(qw(echo.c modes/*.[ch]
    modes/*/*.[ch] modes/*/*/*.[ch]));

# The layers of modes/serve from the top to the bottom. A file may include
# files of its own layer, without a circle, and of the layers below.
my @layers = (
	[qw(serve)],
	[qw(workers loop blocking select epoll kqueue uring)],
	[qw(server engine)],
	[qw(listen client datagram)],
	[qw(watch header)],
	[qw(log)],
	[qw(conn)],
	[qw(control control_v4 inetd link pipe proxy reply_rate ring sandbox signals
	    socket_path systemd tally)]
);
# Headers that belong to a mode of one file.
my %part_of = (services => 'ports');

sub files {
	my $top = in_tree('');
	return sort map { s/^\Q$top\E//r } map { glob in_tree($_) } @_;
}

# Replaces comments by spaces, and the text of strings by nothing, so that the
# numbers of lines stay.
sub code {
	my ($text) = @_;
	$text =~ s{(/\*.*?\*/|//[^\n]*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')}
	    {defined $1 ? ' ' . $1 =~ tr/\n//cdr : '""'}gse;
	return $text;
}

# The comments of a C file, each as [line, text without stars].
sub comments {
	my ($text) = @_;
	my @comments;
	while ($text =~ m{(/\*.*?\*/)|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'}gs) {
		next unless defined $1;
		my ($comment, $start) = ($1, $-[0]);
		my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);
		$comment =~ s{^/\*+|\*+/$}{}g;
		$comment =~ s/^[ \t]*\*//mg;
		push @comments, [$line, $comment];
	}
	return @comments;
}

# The files of a module of which the Makefile chooses one for each system.
my $variant = qr/_(?:linux|posix|none|pktinfo|dstaddr|epoll|kqueue|poll|user)$/;

# A module is a .c file with its header: modes/serve/log.c is modes/serve/log, and
# modes/lib/net.c and net_linux.c are modes/lib/net.
sub module { $_[0] =~ s/\.[ch]$//r =~ s/$variant//r }

# The modules that each module includes: { module => { module => 1 } }.
sub includes {
	my %includes;
	for my $file (keys %source) {
		my ($folder) = $file =~ m{^(.*/)};
		my $own = $includes{module($file)} //= {};
		for my $name ($source{$file} =~ /^#include "(.*?)"/mg) {
			my $path = exists $source{$name} ? $name :
			    ($folder // '') . $name;
			$own->{module($path)} = 1
			    if module($path) ne module($file);
		}
	}
	return \%includes;
}

# A circle that begins with a module, as a path, or nothing.
sub circle_from {
	my ($includes, @path) = @_;
	for my $next (sort keys %{ $includes->{$path[-1]} // {} }) {
		return @path, $next if $next eq $path[0];
		next if grep { $_ eq $next } @path;
		my @circle = circle_from($includes, @path, $next);
		return @circle if @circle;
	}
	return;
}

# The part of the tree that a module belongs to: echo, mode (the header that
# everything may include), lib, or the name of a mode.
sub part {
	my ($module) = @_;
	my $part = $module =~ m{^modes/(\w+)} ? $1 : $module;
	return $part_of{$part} // $part;
}

sub layer {
	my ($module) = @_;
	my ($name) = $module =~ m{(\w+)$};
	my ($layer) = grep { grep { $_ eq $name } @{ $layers[$_] } }
	    0 .. $#layers;
	return $layer;
}

# Why a module must not include another one; an empty string if it may.
sub objection {
	my ($from, $to) = map { part($_) } @_;
	return '' if $to eq 'mode' || $from ne 'lib' && $to eq 'lib';
	return "$from may not use $to" if $from ne $to;
	return '' if $from ne 'serve';
	my ($upper, $lower) = map { layer($_) } @_;
	return 'has no layer in this test'
	    unless defined $upper && defined $lower;
	return $upper <= $lower ? '' : 'a layer above';
}

# The functions that a C file defines, each as { name, file, lines, exported }.
sub functions {
	my ($file) = @_;
	my $code = code($source{$file}) =~ s/^#(?:.*\\\n)*.*$//mgr;
	my @functions;
	# At the top level: the text before a block, and the block.
	while ($code =~ /([^;{}]*)(\{(?:[^{}]++|(?2))*\})/g) {
		my ($head, $body) = ($1, $2);
		next unless $head =~ /\)\s*\z/ && $head !~ /=/;
		$head =~ s/__attribute__\s*\(\(.*?\)\)//gs;
		my ($name) = $head =~ /(\w+)\s*\(/;
		push @functions, { name => $name, file => $file,
		    lines => ($body =~ tr/\n//) - 1,
		    exported => $head !~ /\bstatic\b/ };
	}
	return @functions;
}

my @functions = map { functions($_) } sort keys %source;
cmp_ok @functions, '>', 300, 'functions are found';
is scalar(grep { $_->{name} eq 'main' } @functions), 1, 'main is one of them';
note 'median length of a function: ', median(map { $_->{lines} } @functions);

subtest 'files depend on each other downwards only' => sub {
	my $includes = includes();
	my (@circles, %seen, @wrong, @absent);
	for my $module (sort keys %$includes) {
		my @circle = circle_from($includes, $module);
		push @circles, join ' -> ', @circle unless !@circle ||
		    $seen{join ' ', sort @circle[1 .. $#circle]}++;
		for my $other (sort keys %{ $includes->{$module} }) {
			my $objection = objection($module, $other);
			push @wrong, "$module includes $other ($objection)"
			    if $objection;
			push @absent, "$module includes $other"
			    unless $includes->{$other};
		}
	}
	is join("\n", @absent), '', 'every included file is found';
	is join("\n", @circles), '', 'no circle of includes';
	is join("\n", @wrong), '', 'no include of a layer above';
};

subtest 'a name shows which file it belongs to' => sub {
	my %files;
	for (@functions) {
		my $name = $_->{file} =~ s/\.c$//r;
		my $is_variant = $name =~ $variant ||
		    exists $source{"${name}_none.c"};
		$files{$_->{name}}{$is_variant ? module($name) . '_*.c' :
		    $_->{file}} = 1;
	}
	is join("\n", map { "$_: " . join ' ', sort keys %{ $files{$_} } }
	    grep { keys %{ $files{$_} } > 1 } sort keys %files), '',
	    'every function name is defined in one file';
	is join("\n", map { "$_->{file}: $_->{name}" } grep {
		my ($base) = $_->{file} =~ m{/compat/} ? 'compat_' :
		    module($_->{file}) =~ m{(\w+)$};
		$_->{exported} && $_->{name} !~ /^\Q$base\E/ &&
		    $_->{name} ne 'main'
	} @functions), '',
	    'an exported function begins with the name of its file';
};

subtest 'files are short' => sub {
	my @long = grep { $_->[1] > 650 } map { [$_, $source{$_} =~ tr/\n//] }
	    sort keys %source;
	is join("\n", map { "$_->[0]: $_->[1]" } @long), '',
	    'no source file has more than 650 lines';
};

# Words that make a sentence hard to understand, as DESIGN says.
my $hard = qr/\b(?:who|whoever|nobody|somebody|lest|so\s+many|so\s+long)\b/i;

# Asserts that a text has at most one of those words for 1000 words. A text is
# a list of [place, text].
sub plain {
	my ($name, @texts) = @_;
	my ($words, @found) = 0;
	for (@texts) {
		my ($place, $text) = @$_;
		$words += () = $text =~ /\w[\w'-]*/g;
		while ($text =~ /($hard)/g) {
			my $line = substr($text, 0, $-[0]) =~ tr/\n//;
			my $word = $1 =~ s/\s+/ /gr;
			push @found, "$word: " .
			    $place =~ s/:(\d+)$/':' . ($1 + $line)/er;
		}
	}
	cmp_ok $words, '>', 50, "$name: words are found";
	return cmp_ok(1000 * @found, '<=', $words, "$name: plain English") ||
	    diag join "\n", @found;
}

subtest 'the words are plain' => sub {
	plain('comments', map { my $file = $_; map { ["$file:$_->[0]",
	    $_->[1]] } comments(slurp(in_tree($file))) } files(qw(echo.c modes/*.[ch]
	    modes/*/*.[ch] modes/*/*/*.[ch] t/*.[ch] t/fuzz/*.[ch] doc/*.[ch])));
	my %modes = modes();
	for my $mode (sort keys %modes) {
		my $help = run_echo({ forget => 1 }, $mode, '--help')->{out};
		plain("help of $mode", ["$mode:1", $help]);
	}
	plain('README', ['README:1', slurp(in_tree('README'))]);
	plain($_, ["$_:1", slurp(in_tree($_))]) for files('man/*.1');
};

done_testing;
