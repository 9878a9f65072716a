// Command fakeapid serves the scripted Messages API of package fakeapi until
// its stdin ends. It prints its URL on stdout.
package main

import (
	"os"

	"cctask/internal/testkit/fakeapi"
)

func main() { os.Exit(fakeapi.Main(os.Args[1:])) }
