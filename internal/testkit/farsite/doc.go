// Package farsite is a second site for tests: runs on what stands in for another host.
// They live under a root of their own, with today's runner, and nothing but a pipe
// leads there: a child process, the far end, which answers lines of JSON and is an
// owner without a database. It shows where the engine still takes a site for this
// machine. It may import engine/runner, and is never part of the cctask binary.
//
// What a far host does to those who rely on it can be had by the test:
//   - a start waits for room first (Config.Room, Site.MakeRoom), and is a job as long;
//   - looks fail for a while (Config.Blind, Site.Blind);
//   - the connection breaks while runners go on (Site.Drop);
//   - the host starts anew: what ran is gone, without a word (Site.Reboot).
//
// The test binary plays far end and runner:
//
//	if farsite.Called() {
//		os.Exit(farsite.Main())
//	}
package farsite
