package raft

// OpenUnsynced is OpenStorage without fsyncs, for tests that end replicas and cut no power: with all of them on one busy
// disk an fsync may take a second, and an election takes four.
func OpenUnsynced(directory string, durability Durability) (*Storage, error) {
	return openStorage(directory, durability, true)
}
