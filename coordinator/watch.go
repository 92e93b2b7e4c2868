package coordinator

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/coordinator/state"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// wireVersion is that of the service.
const wireVersion = 1

// RegisterMapService adds the service that pushes the map to a gRPC server.
func (s *Server) RegisterMapService(registrar grpc.ServiceRegistrar) {
	pb.RegisterMapServiceServer(registrar, &mapService{server: s})
}

// mapService serves watchers, on every replica of the coordinator.
type mapService struct {
	pb.UnimplementedMapServiceServer
	server *Server
}

// WatchMap tells a watcher everything, and from then on what changed. Nothing is queued for him: what he gets is
// the newest when he is ready for it.
func (m *mapService) WatchMap(request *pb.WatchMapRequest, stream grpc.ServerStreamingServer[pb.WatchMapResponse]) error {
	s := m.server
	if request.GetVersion() != wireVersion {
		return status.Errorf(codes.Unimplemented, "version %d of the wire format is not spoken here, only %d", request.GetVersion(), wireVersion)
	}
	if cluster := request.GetCluster(); len(cluster) > 0 && string(cluster) != string(s.options.Cluster[:]) {
		return status.Errorf(codes.FailedPrecondition, "this is cluster %x, not %x", s.options.Cluster, cluster)
	}
	if err := s.enterWatch(); err != nil {
		return err
	}
	defer s.leaveWatch()
	heartbeat := time.NewTimer(s.options.HeartbeatInterval)
	defer heartbeat.Stop()
	var seen seen
	for beat := true; ; {
		news, changed := s.newsFor(&seen)
		if news != nil || beat {
			if news == nil {
				news = &pb.WatchMapResponse{Cluster: s.options.Cluster[:], Bound: seen.bound, CoordinatorPrimary: seen.own.Address, NotMember: seen.standing.stranger}
			}
			if err := stream.Send(news); err != nil {
				return err
			}
			heartbeat.Reset(s.options.HeartbeatInterval)
		}
		beat = false
		select {
		case <-changed:
		case <-heartbeat.C:
			beat = true
		case <-stream.Context().Done():
			return nil
		case <-s.ctx.Done():
			return nil
		}
	}
}

func (s *Server) enterWatch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return status.Error(codes.Unavailable, "this coordinator is closing")
	case s.watchers >= s.options.WatchersMax:
		return status.Errorf(codes.ResourceExhausted, "%d watchers are here already", s.watchers)
	}
	s.watchers++
	s.work.Add(1)
	return nil
}

func (s *Server) leaveWatch() {
	s.mu.Lock()
	s.watchers--
	s.mu.Unlock()
	s.work.Done()
}

// publish lets all watchers look. The caller holds the lock.
func (s *Server) publish() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// seen is what a watcher was told last.
type seen struct {
	any        bool
	mapVersion uint64
	primaries  []state.Primary // ascending by group
	own        state.Primary
	standing   standing
	bound      uint64
}

// newsFor returns what a watcher has not seen, or nil, and what will be closed when there is more.
func (s *Server) newsFor(seen *seen) (*pb.WatchMapResponse, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := &pb.WatchMapResponse{
		Cluster: s.options.Cluster[:], Bound: uint64(s.state.Mark()), CoordinatorPrimary: s.own.Address, NotMember: s.standing.stranger,
	}
	fresh := !seen.any || news.Bound != seen.bound || s.own != seen.own || s.standing != seen.standing
	if s.standing.group != nil && s.standing != seen.standing {
		news.Coordinator = groupMessage(s.standing.group)
	}
	if current := s.state.Map(); current != nil && current.Version != seen.mapVersion {
		news.Map, seen.mapVersion, fresh = mapMessage(current), current.Version, true
	}
	if s.own != seen.own && s.own.Address != "" {
		news.Primaries = append(news.Primaries, primaryMessage(s.own))
	}
	known := s.primaries.All()
	for _, primary := range unseen(known, seen.primaries) {
		news.Primaries = append(news.Primaries, primaryMessage(primary))
		fresh = true
	}
	seen.any, seen.primaries, seen.own, seen.standing, seen.bound = true, known, s.own, s.standing, news.Bound
	if !fresh {
		return nil, s.changed
	}
	return news, s.changed
}

// unseen returns what is known and differs from what was seen; both are ascending by group.
func unseen(known, seen []state.Primary) []state.Primary {
	var fresh []state.Primary
	for _, primary := range known {
		for len(seen) > 0 && seen[0].Group < primary.Group {
			seen = seen[1:]
		}
		if len(seen) == 0 || seen[0] != primary {
			fresh = append(fresh, primary)
		}
	}
	return fresh
}
