// Package sys is what the rest of the module asks of the operating system and
// more than one package needs: locks on files, which process a number means and how
// to signal that one and no other, files that come to their names whole. It imports
// the standard library and golang.org/x/sys, and must never know what a task is.
package sys
