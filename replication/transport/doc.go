// Package transport owns the streams between nodes: it carries the frames of every group's replication,
// whatever backend they belong to, and fetches checkpoints.
//
// A node has one Transport. It keeps one outgoing stream for each peer's address, shared by all groups; the
// peer opens its own stream for the other direction. Frames that wait go out together. A frame may be lost,
// late, repeated or overtaken by another, and is never altered unnoticed: nothing is kept for a peer that is
// not reached, and a full queue drops. Each stream opens with a handshake that names the cluster and the
// replicas which speak on it; a frame from anyone else, to anyone else or with a wrong checksum is dropped and
// counted, so that hostile or confused peers cost little and change nothing.
//
// The package knows neither backends nor their messages. The rooms that put a node together import it. All
// its methods are safe for use from many goroutines.
package transport
