// Command cctask runs many Claude Code tasks at once; see internal/cli.
package main

import (
	"context"
	"os"

	"cctask/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args, cli.System()))
}
