//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "chaos needs Linux: signals, file systems and the clock are broken by its means")
	os.Exit(1)
}
