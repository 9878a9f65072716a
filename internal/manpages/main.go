// Command manpages writes the man pages of all verbs into the directory that
// it is given. It is what `make man` runs: it may import internal/cli and the
// generator, and no other package may know it.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"cctask/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manpages DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the pages: %w", err)
	}
	root := cli.Root()
	root.DisableAutoGenTag = true // the same tree gives the same pages
	withExitCodes(root)
	// Without a title each page gets the name of its verb.
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "cctask", Manual: "cctask"}, dir); err != nil {
		return fmt.Errorf("write the pages: %w", err)
	}
	return nil
}

// withExitCodes moves what our help template shows behind the usage to where
// the generator looks.
func withExitCodes(cmd *cobra.Command) {
	if codes := cmd.Annotations["exits"]; codes != "" {
		cmd.Long += "\n\n**Exit codes**\n\n```\n" + strings.TrimRight(codes, "\n") + "\n```\n"
	}
	for _, c := range cmd.Commands() {
		withExitCodes(c)
	}
}
