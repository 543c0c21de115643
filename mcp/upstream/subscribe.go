package upstream

import "context"

// Subscribe implements Server.
func (s *httpServer) Subscribe(context.Context, *Exchange, func(params []byte)) (stop func(), a *Answer, err error) {
	return nil, noSubscriptions(), nil
}

// Tell implements Server.
func (s *httpServer) Tell(client, method string, params []byte) {}

// Leave implements Server.
func (s *httpServer) Leave(client string) {}

// Subscribe implements Server.
func (s *stdioServer) Subscribe(context.Context, *Exchange, func(params []byte)) (stop func(), a *Answer, err error) {
	return nil, noSubscriptions(), nil
}

// Tell implements Server.
func (s *stdioServer) Tell(client, method string, params []byte) {}

// Leave implements Server.
func (s *stdioServer) Leave(client string) {}

// noSubscriptions is what a server that has no subscriptions says.
func noSubscriptions() *Answer {
	return &Answer{Error: &RPCError{Code: codeMethod, Raw: []byte(`{"code":-32601,"message":"this server has no subscriptions"}`)}}
}
