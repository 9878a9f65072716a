package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cctask/internal/cli"
)

func TestEveryVerbHasAPage(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	n := 0
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		n++
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
		}
		title := ".TH \"" + strings.ToUpper(strings.ReplaceAll(cmd.CommandPath(), " ", "-")) + "\" \"1\""
		for _, section := range []string{title, ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLE", "Exit codes"} {
			if !bytes.Contains(page, []byte(section)) {
				t.Errorf("%s: no %q", cmd.CommandPath(), section)
			}
		}
		for _, c := range cmd.Commands() {
			check(c)
		}
	}
	check(cli.Root())
	if files, err := os.ReadDir(dir); err != nil || len(files) != n {
		t.Errorf("%d pages for %d verbs, error %v", len(files), n, err)
	}
}
