# Completion in a real bash and a real zsh: the line after the keys.
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
my $of_clients = run_echo(qw(check --client=x --list))->{out};
my @client_tests = sort $of_clients =~ /^(client-s\S+)/mg;
my @fins = sort grep { /^fin/ } keys %{ $column{name} };

# The words typed, and their completions.
my @cases = (
	(map { ["$modes{$_} --", $options{$_}] } sort keys %modes),
	['echo_check --profile=', [map { "--profile=$_" } @profiles]],
	['echo_check --profile=r', ['--profile=rfc862', '--profile=robust']],
	['echo_server --log=', ['--log=json', '--log=text']],
	['echo_client --proxy-protocol=',
	    ['--proxy-protocol=v1', '--proxy-protocol=v2']],
	['echo_check --only=fin', [map { "--only=$_" } @fins]],
	['echo_check -u --skip=udp-win', ['--skip=udp-window']],
	['echo_check --skip=line,fin', [map { "--skip=line,$_" } @fins]],
	['echo_check --client=x --only=client-s',
	    [map { "--only=$_" } @client_tests]],
	['echo_server --g', ['--gap=']],
	['echo_ports --t', ['--tcp']],
	['echo_faulty cor', ['corrupt']],
	['echo_faulty cr', ['crlf']],
	['echo_faulty upper,de', [map { "upper,$_" } qw(deaf delay)]],
	['echo_server --nosuch', ['--nosuch']],
	['echo --', ['--']],
	['echo se', ['se']]
);

# The completions in a line, sorted; of "--only=line,fin" that is "fin". zsh adds
# a comma where one may follow, and omits an "=" that it would remove again; of
# several values bash repeats only the value.
sub completed {
	my ($line) = @_;
	my (undef, @words) = grep { !/^(?:-u|--client=x)$/ } split ' ', $line;
	s/[,=]$//, s/^--[\w-]+=(?:.*,)?//, s/^.*,// for @words;
	return join "\n", sort @words;
}

sub check_all {
	my ($shell, $lines) = @_;
	for my $case (@cases) {
		my ($typed, $wanted) = @$case;
		my $line = shift @$lines // '';
		my $stays = @$wanted > 1 ? $typed :
		    $typed =~ s/\S+$/$wanted->[0]/r;
		subtest "$shell: $typed" => sub {
			like $line, qr/^\Q$stays\E/, 'what was typed';
			is completed($line), completed("x @$wanted"),
			    'the completions';
		};
	}
}

# Readline reads the keys from a pipe. M-* inserts all completions, and C-a goes
# to the beginning, where "got" turns the line into an argument.
SKIP: {
	skip 'no bash', scalar @cases
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

# zsh runs on a pseudo-terminal of zpty; a widget writes the line to a FIFO. Every
# wait has a deadline that leaves a busy machine time.
SKIP: {
	skip 'no zsh with zpty', scalar @cases if run_command('zsh', '-fc',
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
		read -t 30 line <&3 || exit 1
		shift
		for typed; do
			zpty -w -n shell "$typed"$'\C-a\C-t'
			read -t 30 line <&3 || exit 1
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
