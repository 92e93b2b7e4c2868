// Package tree stores a directory tree in viewline and compares one with what is stored: the data set of
// `viewline load`, `viewline verify` and the demo.
//
// Objects have ids, not paths: a directory holds its entries' names, kinds and ids, a file its size, mode and
// SHA-256, a symbolic link its target. So moving a directory changes its two parents and nothing below it.
// Each directory is written by one transaction, or by one for each page when it is very large.
//
// It uses only the clerk. Its functions may be called from many goroutines.
package tree
