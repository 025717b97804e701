// The echo/broadcast contract on uWebSockets itself, without a scripting language in between: its own topics for fan-out, its own
// corking for echo, its own epoll loop. `cargo xtask bench` compiles it.
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "App.h"

namespace {

struct Nothing {};

// Each name is kept once, so that a line carries a pointer and no string.
struct Channel {
    const std::string *name;
};

const std::string *name_of(std::string_view name) {
    static std::set<std::string, std::less<>> names;
    return &*names.emplace(name).first;
}

// Payloads of any size that a benchmark sends; never drop a message for back-pressure: a lost delivery would look like a cheap one.
template <typename Data> uWS::App::WebSocketBehavior<Data> behavior() {
    uWS::App::WebSocketBehavior<Data> behavior;
    behavior.compression = uWS::DISABLED;
    behavior.maxPayloadLength = 64 * 1024 * 1024;
    behavior.maxBackpressure = 0;
    return behavior;
}

uWS::App::WebSocketBehavior<Channel> channel_behavior() {
    auto channel = behavior<Channel>();
    channel.upgrade = [](auto *response, auto *request, auto *context) {
        response->template upgrade<Channel>({name_of(request->getParameter(0))}, request->getHeader("sec-websocket-key"),
                                            request->getHeader("sec-websocket-protocol"),
                                            request->getHeader("sec-websocket-extensions"), context);
    };
    return channel;
}

} // namespace

int main(int count, char **arguments) {
    std::string address = count > 1 ? arguments[1] : "";
    auto colon = address.rfind(':');
    if (colon == std::string::npos) {
        std::fprintf(stderr, "usage: uwebsockets HOST:PORT\n");
        return 2;
    }
    std::string host = address.substr(0, colon);
    int port = std::atoi(address.c_str() + colon + 1);

    uWS::App app;

    auto echo = behavior<Nothing>();
    echo.message = [](auto *line, std::string_view message, uWS::OpCode kind) { line->send(message, kind); };

    auto subscriber = channel_behavior();
    subscriber.open = [](auto *line) { line->subscribe(*line->getUserData()->name); };

    auto publisher = channel_behavior();
    publisher.message = [&app](auto *line, std::string_view message, uWS::OpCode kind) {
        if (kind == uWS::OpCode::TEXT) {
            app.publish(*line->getUserData()->name, message, kind);
        }
    };

    app.ws<Nothing>("/echo", std::move(echo));
    app.ws<Channel>("/sub/:name", std::move(subscriber));
    app.ws<Channel>("/pub/:name", std::move(publisher));
    bool listening = false;
    app.listen(host, port, [&](auto *socket) { listening = socket != nullptr; });
    if (!listening) {
        std::fprintf(stderr, "uwebsockets: cannot listen on %s\n", address.c_str());
        return 1;
    }
    app.run();
}
