// Package route owns the client side of the hot path: the map of shards and primaries, one stream of requests
// to each node, the way of a request through redirects and failures, and the sharing of timestamps.
//
// The clerk, the shard servers, the coordinator and the command line import it. It links gRPC and protobuf and
// nothing else that is not the standard library's.
//
// A Router holds no decision of its own: what to do about a refusal, a broken stream or a passed deadline is
// decided by course (one request), group (who serves a group), watch (which coordinator to listen to) and batch
// (who shares a request), which are pure and have table tests. The Router has a goroutine for each node that it
// talks to and its writer, one that listens to the coordinator, and one for all deadlines and pauses together;
// none for a request. Close waits for all of them.
//
// Every exported method may be called from many goroutines at once. A Map never changes.
package route
