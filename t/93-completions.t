# Completion in a real bash and a real zsh: what the keys leave on the line.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Copy qw(copy);
use File::Temp ();
use POSIX qw(mkfifo);
use Test::More;

local $ENV{PATH} = program('') . ":$ENV{PATH}";

my %modes = modes();
my (%options, %column);
for my $mode (keys %modes) {
	my $help = run_echo($mode, '--help')->{out};
	$options{$mode} = [ sort
	    $help =~ /^ {2,6}(?:-\w, )?(--[\w-]+=?)/mg ];
}
for (split /\n/, run_echo(qw(check --list))->{out}) {
	my ($name, $profile) = split;
	$column{name}{$name} = $column{profile}{$profile} = 1;
}
my @profiles = sort keys %{ $column{profile} };
my @fins = sort grep { /^fin/ } keys %{ $column{name} };

# Words typed, and all that they may become.
my @cases = (
	(map { ["$modes{$_} --", $options{$_}] } sort keys %modes),
	['echo_check --profile=', [map { "--profile=$_" } @profiles]],
	['echo_check --profile=r', ['--profile=rfc862', '--profile=robust']],
	['echo_server --log=', ['--log=json', '--log=text']],
	['echo_check --only=fin', [map { "--only=$_" } @fins]],
	['echo_check --skip=line,fin', [map { "--skip=line,$_" } @fins]],
	['echo_server --g', ['--gap=']],
	['echo_ports --t', ['--tcp']],
	['echo_server --nosuch', ['--nosuch']],
	['echo --', ['--']],
	['echo se', ['se']]
);

# What a line was completed with, sorted: of "--only=line,fin" the "fin". zsh
# adds a comma where one may follow, and leaves out an "=" that it would take
# back; bash repeats of several values the value only.
sub completed {
	my ($line) = @_;
	my (undef, @words) = split ' ', $line;
	s/[,=]$//, s/^--\w+=(?:.*,)?//, s/^.*,// for @words;
	return join "\n", sort @words;
}

sub check_all {
	my ($shell, $lines) = @_;
	for my $case (@cases) {
		my ($typed, $wanted) = @$case;
		my $line = shift @$lines // '';
		my $stays = @$wanted > 1 ? $typed :
		    $typed =~ s/\S+$/$wanted->[0]/r;
		like $line, qr/^\Q$stays\E/, "$shell: $typed stays";
		is completed($line), completed("x @$wanted"),
		    "$shell: $typed is completed";
	}
}

# Readline needs no terminal: keys come through a pipe. M-* inserts all that is
# possible, C-a goes to the front, where "got" makes the line an argument.
SKIP: {
	skip 'no bash here', 2 * @cases
	    if run_command('bash', '--version')->{status} != 0;
	my $file = in_tree('contrib/completions/bash');
	my $keys = join '', "source $file\n",
	    "got() { printf 'GOT %s\\n' \"\$*\"; }\n",
	    map { "$_->[0]\e*\x01got \n" } @cases;
	local $ENV{INPUTRC} = '/dev/null';
	my $run = run_command({ in => $keys }, 'bash', '--norc', '--noprofile',
	    '-i');
	check_all('bash', [$run->{out} =~ /^GOT (.*)/mg]);
}

# A terminal of zsh's own; a widget writes the line to a pipe with a name.
SKIP: {
	skip 'no zsh with zpty here', 2 * @cases if run_command('zsh', '-fc',
	    'zmodload zsh/zpty && autoload -Uz compinit')->{status} != 0;
	my $tmp = File::Temp->newdir;
	mkfifo "$tmp/lines", 0600 or die $!;
	copy in_tree('contrib/completions/zsh'), "$tmp/_echo_server" or die $!;
	open my $driver, '>', "$tmp/driver" or die $!;
	print $driver <<~'END';
		zmodload zsh/zpty
		exec 3<>$1/lines
		zpty shell zsh -f -i
		zpty -w shell "source $1/setup; print ready >$1/lines"
		read -t 15 line <&3 || exit 1
		shift
		for typed; do
			zpty -w -n shell "$typed"$'\C-a\C-t'
			read -t 15 line <&3 || exit 1
			print -r -- "GOT $line"
		done
		zpty -d shell
		END
	close $driver or die $!;
	open my $setup, '>', "$tmp/setup" or die $!;
	print $setup <<~"END";
		fpath=($tmp \$fpath)
		autoload -Uz compinit
		compinit -D -u
		everything() {
			_main_complete
			(( compstate[nmatches] )) && compstate[insert]=all
		}
		zle -C everything complete-word everything
		bindkey '^A' everything
		tell() { print -r -- \$BUFFER >$tmp/lines; BUFFER= }
		zle -N tell
		bindkey '^T' tell
		END
	close $setup or die $!;
	my $run = run_command('zsh', '-f', "$tmp/driver", "$tmp",
	    map { $_->[0] } @cases);
	check_all('zsh', [$run->{out} =~ /^GOT (.*)/mg]);
}

done_testing;
