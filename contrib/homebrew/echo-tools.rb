# The build of echo-tools with Homebrew. The tarball is taken from the folder of
# this file. To install from a tap of your own:
#
#	make dist
#	brew tap-new local/echo
#	cp echo-*.tar.gz contrib/homebrew/echo-tools.rb \
#	    "$(brew --repository local/echo)/Formula"
#	brew install local/echo/echo-tools
class EchoTools < Formula
  desc "Echo server and client (RFC 862), and tests of other echo servers"
  homepage "https://www.rfc-editor.org/rfc/rfc862"
  url "file://#{__dir__}/echo-1.0.0.tar.gz"
  license "ISC"

  def install
    system "make", "install", "PREFIX=#{prefix}", "docdir=#{doc}",
           "mandir=#{man}", "bashcompdir=#{bash_completion}",
           "zshcompdir=#{zsh_completion}"
  end

  test do
    system bin/"echo_check", "--start",
           "#{bin}/echo_server --select --quiet --port={port}"
  end
end
