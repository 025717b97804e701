// Every text that a reader sees, in both languages, and the few functions that put it on the page.
//
// An element says which text it shows with data-i18n="key"; data-i18n-attr="placeholder:key,title:key" does the
// same for attributes. Both are filled again when the reader switches the language, so nothing else has to know.

import { remember, recall } from "./store.js";

export const LANGUAGES = ["en", "zh"];

export const strings = {
  en: {
    "language.other": "中文",
    "language.switch": "切换到中文",
    "nav.home": "Longwire, first page",
    "nav.pages": "Pages",
    "nav.chat": "Chat",
    "nav.stream": "AI stream",
    "nav.compare": "Transports",
    "copy.do": "Copy",
    "copy.done": "Copied",
    "copy.failed": "Copying failed",

    "nothing.title": "Nothing here · Longwire",
    "nothing.headline": "There is nothing at this address.",
    "nothing.lead": "Perhaps it was mistyped. These pages are here:",

    "home.title": "Longwire: the line stays open",
    "home.headline": "The line stays open.",
    "home.what":
      "Longwire is a real-time WebSocket server in one binary: it holds a permanent connection to every browser and app of your product, and pushes to all of them in milliseconds.",
    "home.here": "Running here, on {host}",
    "home.chat": "Open the chat",
    "home.chatHint": "Open it in two windows and talk.",
    "home.stream": "Or watch an AI-like stream that survives a reload.",
    "home.try": "Try the line",
    "home.input": "Message to the server",
    "home.placeholder": "Say something",
    "home.send": "Send",
    "home.sent": "sent",
    "home.received": "received",
    "home.log": "Messages on this line",
    "home.ways": "Channels that lose nothing",
    "home.waysLead":
      "A channel numbers what is said in it and keeps it for a while. Whoever was away says where they were and gets what they missed, in order, or a word about what is gone. One channel, many ways in:",
    "home.page": "In a page",
    "home.pageHint": "The client comes from this server, for pages of any origin; it reconnects, resumes, and sends once.",
    "home.api": "From your back end",
    "home.apiHint": "An HTTP API. The server has made a key for its own user; longwire key prints it.",
    "home.events": "Without a WebSocket",
    "home.eventsHint": "Server-Sent Events, for curl and EventSource; long polling and polling, too.",
    "home.socketio": "With Socket.IO",
    "home.socketioHint": "A stock client connects unchanged, and hears the same channels.",
    "home.code": "A bare WebSocket",
    "home.codeHint": "The line above. Paste it into the console of this page (F12).",
    "home.cli": "From the command line",
    "home.cliHint": "Read along, publish, measure this machine, and see every option of the server.",
    "home.more": "There are keyed state, presence, streams for AI, and a Rust library, too:",
    "home.docs": "documentation",
    "home.footer": "HTTP is question and answer. A WebSocket is a phone call.",
    "home.noscript": "The live parts of this page need JavaScript.",

    "line.connecting": "Connecting",
    "line.open": "Line open",
    "line.back": "Line back",
    "line.lost": "Line lost",
    "line.stopped": "Line closed",
    "line.trying": "Trying now …",
    "line.next": "Next attempt in {seconds} s",
    "line.tryNow": "Try now",
    "line.tryAgain": "Try again",
    "line.said": "{why} “{reason}”",
    "line.noReturn": "It will not come back by itself.",

    "close.1000": "The server closed the line.",
    "close.1001": "The server is going away or restarting.",
    "close.1006": "The connection broke off.",
    "close.1008": "The server’s policy does not allow this line.",
    "close.1009": "A message was too large for the server.",
    "close.1011": "The server met an error of its own.",
    "close.1013": "The server is busy and asks to try again later.",
    "close.3000": "The server’s ping got no answer.",
    "close.3001": "The line was silent for too long.",
    "close.3002": "This page was reading too slowly.",
    "close.3003": "The server could not write in time.",
    "close.comeBack": "The server asks to come back (code {code}).",
    "close.stayAway": "The server ended this line for good (code {code}).",
    "close.protocol": "The two ends did not understand each other (code {code}).",
    "close.other": "The line was closed with code {code}.",
    "close.openTimeout": "No connection within 10 seconds.",
    "close.timeout": "The server did not answer in time.",
    "close.notUnderstood": "The server said something that this page does not understand.",
    "close.refused": "The server did not accept this page.",

    "chat.title": "Chat · Longwire",
    "chat.titleRoom": "{room} · Longwire",
    "chat.titleUnread": "({count}) {room} · Longwire",
    "chat.noscript": "The chat needs JavaScript.",
    "lobby.headline": "Join a room",
    "lobby.lead": "Pick a name and a room. Whoever opens the same room talks with you.",
    "lobby.name": "Your name",
    "lobby.namePlaceholder": "Ada",
    "lobby.room": "Room",
    "lobby.roomPlaceholder": "tea",
    "lobby.join": "Join",
    "lobby.nameMissing": "Please choose a name.",
    "lobby.nameLong": "A name has at most {max} characters.",
    "lobby.nameControl": "A name cannot contain control characters.",
    "lobby.roomMissing": "Please choose a room.",
    "lobby.roomLong": "A room’s name has at most {max} characters.",
    "lobby.roomControl": "A room’s name cannot contain control characters.",
    "lobby.roomBytes": "This room’s name is too long in bytes.",
    "lobby.badRoom": "The server does not accept this room’s name.",
    "lobby.noChat": "This server has no channels for a chat.",
    "lobby.denied": "The server does not let you into this room.",
    "lobby.refused": "The server did not let you in ({code}).",

    "room.people": "Here now",
    "room.showPeople": "Show who is here",
    "room.you": "you",
    "room.youInWindows": "you · {count} windows",
    "room.windows": "{count} windows",
    "room.copyLink": "Copy link",
    "room.leave": "Leave",
    "room.close": "Close",
    "room.alone": "You are the first one here.",
    "room.aloneHint": "Send the link to somebody, or open it in a second window.",

    "log.label": "Messages",
    "log.joined": "{names} joined",
    "log.left": "{names} left",
    "log.away": "While you were away ({seconds} s)",
    "log.awayLong": "While you were away ({minutes} min)",
    "log.missed.expired": "You were away for so long that older messages are gone. Here are the latest.",
    "log.missed.epoch": "The server has lost what was said before. What it still has follows.",
    "log.missed.gap": "This page was too slow, and some messages were left out.",
    "log.missed.other": "Some messages could not be recovered.",
    "log.typing.one": "{names} is writing",
    "log.typing.other": "{names} are writing",
    "log.typingMany": "Several people are writing",
    "log.new.one": "{count} new message",
    "log.new.other": "{count} new messages",
    "log.down": "Newest messages",

    "say.label": "Message",
    "say.placeholder": "Write a message",
    "say.send": "Send",
    "say.hint": "Enter sends · Shift + Enter starts a new line",
    "say.left.one": "{count} character left",
    "say.left.other": "{count} characters left",
    "say.over.one": "{count} character too many",
    "say.over.other": "{count} characters too many",
    "say.full": "{count} messages are waiting already. This one stays here until the line is back.",
    "say.waiting": "Waiting for the line",
    "say.refused": "The server refused this message.",
    "say.resend": "Send again",
    "say.discard": "Remove",

    "leave.headline.one": "{count} message is not delivered",
    "leave.headline.other": "{count} messages are not delivered",
    "leave.body": "If you leave now, they are gone.",
    "leave.stay": "Stay",
    "leave.go": "Leave anyway",

    "stream.title": "AI stream · Longwire",
    "stream.headline": "An answer that keeps going",
    "stream.lead":
      "The server writes the way a language model does, piece by piece. Reload this page in mid-sentence, open it in a second window, or hang up the line: the answer stays whole.",
    "stream.ask": "Ask something",
    "stream.q.line": "Why keep a line open?",
    "stream.q.resume": "How is nothing lost?",
    "stream.q.stream": "What are streams for?",
    "stream.q.unknown": "A question",
    "stream.second": "Second window",
    "stream.copyLink": "Copy link",
    "stream.hangUp": "Hang up",
    "stream.call": "Call again",
    "stream.answers": "Answers",
    "stream.stop": "Stop",
    "stream.empty": "No answer yet.",
    "stream.emptyHint": "Pick a question. All windows with this link show the same.",
    "stream.state.writing": "Writing",
    "stream.state.stopping": "Stopping",
    "stream.state.finished": "Finished",
    "stream.state.cancelled": "Cancelled",
    "stream.state.failed": "Failed",
    "stream.state.lost": "Writer lost",
    "stream.state.gone": "Lost by the server",
    "stream.pieces.one": "{count} piece",
    "stream.pieces.other": "{count} pieces",
    "stream.catchUps.one": "{count} catch-up",
    "stream.catchUps.other": "{count} catch-ups",
    "stream.bytes": "{bytes} bytes",
    "stream.partial": "some of it is missing",
    "stream.unreachable": "The server cannot be reached at the moment.",
    "stream.busy": "The server is writing too many answers already. Try again in a moment.",
    "stream.noStreams": "This server has no channels for streams.",
    "stream.missed": "Some of what was here could not be recovered.",
    "stream.refused": "The server does not let this page read along ({name}).",

    "compare.title": "Transports compared · Longwire",
    "compare.headline": "One stream, five ways to get it",
    "compare.lead":
      "The server publishes a small message five times a second. This page receives it five times over, and shows what each way costs, and what becomes of it when the line is cut.",
    "compare.cut": "Cut all lines for 3 s",
    "compare.measure": "Measure the server’s CPU",
    "compare.down": "All lines are cut, for {seconds} s more.",
    "compare.up": "The network is there again. Each comes back by its own rules …",
    "compare.allUp": "All are back.",
    "compare.notUp": "Some are not back yet.",
    "compare.measuringNone": "Measuring the server without any line …",
    "compare.measuring": "Measuring {name} alone …",
    "compare.measured": "Measured. All are on again.",
    "compare.unmeasured": "Not everything could be measured here. All are on again.",
    "compare.unreachable": "The server cannot be reached at the moment.",
    "compare.refused": "The server does not let this page receive: {message}.",
    "compare.lanes": "The five ways",
    "compare.legend.live": "a message, as high as it was late",
    "compare.legend.late": "it came after a cut",
    "compare.legend.never": "it never came",
    "compare.legend.away": "the line is away",
    "compare.name.poll": "Polling",
    "compare.name.long": "Long polling",
    "compare.name.sse": "Server-Sent Events",
    "compare.name.ws": "WebSocket",
    "compare.name.sio": "Socket.IO",
    "compare.how.poll": "asks once a second",
    "compare.how.long": "asks, and is answered when there is something",
    "compare.how.sse": "one answer that does not end",
    "compare.how.ws": "a line in both directions",
    "compare.how.sio": "its protocol over a WebSocket, without its client",
    "compare.state.connecting": "Connecting",
    "compare.state.open": "On",
    "compare.state.lost": "Cut",
    "compare.state.stopped": "Paused",
    "compare.latency": "Latency (median)",
    "compare.bytes": "Bytes per message",
    "compare.requests": "Requests so far",
    "compare.cpu": "CPU per message",
    "compare.uncut": "Not cut yet.",
    "compare.away": "Away …",
    "compare.back": "Away for {seconds} s.",
    "compare.late": "{count} late",
    "compare.twice": "{count} twice",
    "compare.never": "{count} never",
    "compare.counted": "How it is counted",
    "compare.counted.latency":
      "Latency is from the time in the publication, which the server gives it, to this page. The page reads the server’s clock every two seconds and takes the reading with the shortest way there and back.",
    "compare.counted.bytes":
      "Bytes are those of HTTP/1.1 and of WebSocket frames in both directions, with the heads of requests as large as the server sees them coming from this browser. TCP, IP and TLS are not in it.",
    "compare.counted.requests": "A WebSocket and an event stream begin with one request. The page’s own questions for the clock are not counted.",
    "compare.counted.cpu":
      "For CPU each way is alone for four seconds, at five messages a second: the processor time of the server’s process, less what it uses when nobody listens, divided by the messages. Others who use the server meanwhile disturb it.",
    "compare.counted.cut":
      "A cut is made by this page: it drops all lines at once and lets nothing through for three seconds. Then each waits as its kind does, and asks for what came after the last it had.",
  },

  zh: {
    "language.other": "English",
    "language.switch": "Switch to English",
    "nav.home": "Longwire 首页",
    "nav.pages": "页面",
    "nav.chat": "聊天",
    "nav.stream": "AI 流式输出",
    "nav.compare": "传输对比",
    "copy.do": "复制",
    "copy.done": "已复制",
    "copy.failed": "复制失败",

    "nothing.title": "页面不存在 · Longwire",
    "nothing.headline": "这个地址上什么也没有。",
    "nothing.lead": "也许是输错了。这里有这些页面：",

    "home.title": "Longwire：一线常通",
    "home.headline": "一线常通。",
    "home.what":
      "Longwire 是一个实时 WebSocket 服务器，只有一个可执行文件：它与产品的每个浏览器、每个应用保持长连接，毫秒之间把消息推送给所有人。",
    "home.here": "正运行于 {host}",
    "home.chat": "打开聊天室",
    "home.chatHint": "开两个窗口，就能对话。",
    "home.stream": "或者看看刷新页面也不会断的 AI 流式输出。",
    "home.try": "试试这条线路",
    "home.input": "发给服务器的消息",
    "home.placeholder": "说点什么",
    "home.send": "发送",
    "home.sent": "发出",
    "home.received": "收到",
    "home.log": "这条线路上的消息",
    "home.ways": "不丢消息的频道",
    "home.waysLead":
      "频道给发生的每件事编号，并保留一段时间。离开过的人说出自己的位置，就能按顺序拿到错过的内容；有什么已经不在了，也会明确告知。同一个频道，多种进入方式：",
    "home.page": "在网页里",
    "home.pageHint": "客户端由本服务器提供，任何来源的网页都能加载；它会自动重连、续上进度，每条消息只发一次。",
    "home.api": "在你的后端",
    "home.apiHint": "通过 HTTP API。服务器已为它自己的用户生成了一把密钥，用 longwire key 查看。",
    "home.events": "没有 WebSocket 时",
    "home.eventsHint": "SSE，可用 curl 或 EventSource；也支持长轮询和普通轮询。",
    "home.socketio": "使用 Socket.IO",
    "home.socketioHint": "原版客户端不用改就能连上，听到的是同一批频道。",
    "home.code": "最简单的 WebSocket",
    "home.codeHint": "就是上面那条线路。可以粘贴到本页的控制台（F12）里试试。",
    "home.cli": "在命令行里",
    "home.cliHint": "旁听、发布、给这台机器测速，以及查看服务器的全部选项。",
    "home.more": "此外还有键值状态、在线成员、AI 流式输出和 Rust 库：",
    "home.docs": "文档（英文）",
    "home.footer": "HTTP 是一问一答，WebSocket 是一通电话。",
    "home.noscript": "本页的实时部分需要启用 JavaScript。",

    "line.connecting": "正在连接",
    "line.open": "线路畅通",
    "line.back": "线路恢复",
    "line.lost": "线路中断",
    "line.stopped": "线路关闭",
    "line.trying": "正在重连……",
    "line.next": "{seconds} 秒后重连",
    "line.tryNow": "立即重连",
    "line.tryAgain": "重新连接",
    "line.said": "{why}“{reason}”",
    "line.noReturn": "线路不会自动恢复。",

    "close.1000": "服务器关闭了线路。",
    "close.1001": "服务器正在关闭或重启。",
    "close.1006": "连接意外断开。",
    "close.1008": "服务器的策略不允许这条线路。",
    "close.1009": "有消息超过了服务器允许的大小。",
    "close.1011": "服务器内部出错。",
    "close.1013": "服务器繁忙，请稍后再试。",
    "close.3000": "服务器的心跳没有得到回应。",
    "close.3001": "线路空闲太久。",
    "close.3002": "本页面接收消息太慢。",
    "close.3003": "服务器写入超时。",
    "close.comeBack": "服务器请你重新连接（代码 {code}）。",
    "close.stayAway": "服务器终止了这条线路（代码 {code}）。",
    "close.protocol": "两端未能理解对方的数据（代码 {code}）。",
    "close.other": "线路已关闭，代码 {code}。",
    "close.openTimeout": "10 秒内未能建立连接。",
    "close.timeout": "服务器没有及时回应。",
    "close.notUnderstood": "服务器发来的内容，本页面无法理解。",
    "close.refused": "服务器没有接受这个页面。",

    "chat.title": "聊天 · Longwire",
    "chat.titleRoom": "{room} · Longwire",
    "chat.titleUnread": "({count}) {room} · Longwire",
    "chat.noscript": "聊天需要启用 JavaScript。",
    "lobby.headline": "进入房间",
    "lobby.lead": "取个名字，选个房间。打开同一房间的人就能和你聊天。",
    "lobby.name": "你的名字",
    "lobby.namePlaceholder": "小林",
    "lobby.room": "房间",
    "lobby.roomPlaceholder": "茶馆",
    "lobby.join": "进入",
    "lobby.nameMissing": "请填写名字。",
    "lobby.nameLong": "名字最多 {max} 个字符。",
    "lobby.nameControl": "名字不能包含控制字符。",
    "lobby.roomMissing": "请填写房间名。",
    "lobby.roomLong": "房间名最多 {max} 个字符。",
    "lobby.roomControl": "房间名不能包含控制字符。",
    "lobby.roomBytes": "房间名的字节数太多了。",
    "lobby.badRoom": "服务器不接受这个房间名。",
    "lobby.noChat": "这台服务器没有开设聊天频道。",
    "lobby.denied": "服务器不允许你进入这个房间。",
    "lobby.refused": "服务器没有让你进入（{code}）。",

    "room.people": "在线成员",
    "room.showPeople": "查看在线成员",
    "room.you": "你",
    "room.youInWindows": "你 · {count} 个窗口",
    "room.windows": "{count} 个窗口",
    "room.copyLink": "复制链接",
    "room.leave": "离开",
    "room.close": "关闭",
    "room.alone": "你是第一个来的。",
    "room.aloneHint": "把链接发给别人，或者自己再开一个窗口。",

    "log.label": "消息",
    "log.joined": "{names} 进来了",
    "log.left": "{names} 离开了",
    "log.away": "你离线时的消息（{seconds} 秒）",
    "log.awayLong": "你离线时的消息（{minutes} 分钟）",
    "log.missed.expired": "你离线太久，较早的消息已经清理。以下是最近的消息。",
    "log.missed.epoch": "服务器丢失了之前的消息。以下是它还保留的内容。",
    "log.missed.gap": "本页面接收太慢，漏掉了一些消息。",
    "log.missed.other": "有些消息无法恢复。",
    "log.typing.one": "{names}正在输入",
    "log.typing.other": "{names}正在输入",
    "log.typingMany": "好几个人正在输入",
    "log.new.one": "{count} 条新消息",
    "log.new.other": "{count} 条新消息",
    "log.down": "回到最新消息",

    "say.label": "消息",
    "say.placeholder": "写点什么",
    "say.send": "发送",
    "say.hint": "Enter 发送 · Shift + Enter 换行",
    "say.left.one": "还能输入 {count} 个字符",
    "say.left.other": "还能输入 {count} 个字符",
    "say.over.one": "超出 {count} 个字符",
    "say.over.other": "超出 {count} 个字符",
    "say.full": "已有 {count} 条消息在等待。线路恢复之前，这一条先留在这里。",
    "say.waiting": "等待线路恢复",
    "say.refused": "服务器拒绝了这条消息。",
    "say.resend": "重新发送",
    "say.discard": "移除",

    "leave.headline.one": "有 {count} 条消息尚未送达",
    "leave.headline.other": "有 {count} 条消息尚未送达",
    "leave.body": "现在离开，这些消息就会丢失。",
    "leave.stay": "留下",
    "leave.go": "仍然离开",

    "stream.title": "AI 流式输出 · Longwire",
    "stream.headline": "打不断的回答",
    "stream.lead":
      "服务器像语言模型那样，一小段一小段地写。话写到一半时刷新页面、再开一个窗口，或者挂断线路：回答始终完整。",
    "stream.ask": "问点什么",
    "stream.q.line": "为什么要让连接一直开着？",
    "stream.q.resume": "怎样做到消息不丢？",
    "stream.q.stream": "流有什么用？",
    "stream.q.unknown": "一个问题",
    "stream.second": "再开一个窗口",
    "stream.copyLink": "复制链接",
    "stream.hangUp": "挂断线路",
    "stream.call": "重新接通",
    "stream.answers": "回答",
    "stream.stop": "停止",
    "stream.empty": "还没有回答。",
    "stream.emptyHint": "选一个问题吧。打开同一链接的所有窗口，看到的都一样。",
    "stream.state.writing": "正在写",
    "stream.state.stopping": "正在停止",
    "stream.state.finished": "已写完",
    "stream.state.cancelled": "已停止",
    "stream.state.failed": "出错了",
    "stream.state.lost": "写作者失联",
    "stream.state.gone": "服务器已丢失",
    "stream.pieces.one": "{count} 段",
    "stream.pieces.other": "{count} 段",
    "stream.catchUps.one": "补齐 {count} 次",
    "stream.catchUps.other": "补齐 {count} 次",
    "stream.bytes": "{bytes} 字节",
    "stream.partial": "缺少一部分",
    "stream.unreachable": "暂时无法连接服务器。",
    "stream.busy": "服务器同时写的回答太多了，请稍后再试。",
    "stream.noStreams": "这台服务器没有开设流式频道。",
    "stream.missed": "这里的一些内容无法恢复。",
    "stream.refused": "服务器不允许本页面阅读（{name}）。",

    "compare.title": "传输方式对比 · Longwire",
    "compare.headline": "同一条流，五种收法",
    "compare.lead": "服务器每秒发布五条小消息。本页用五种方式同时接收，并展示每种方式的代价，以及线路被切断后会怎样。",
    "compare.cut": "切断所有线路 3 秒",
    "compare.measure": "测量服务器 CPU",
    "compare.down": "所有线路已切断，还有 {seconds} 秒。",
    "compare.up": "网络已恢复，各种方式正按自己的规则重连……",
    "compare.allUp": "全部已恢复。",
    "compare.notUp": "有些还没有恢复。",
    "compare.measuringNone": "正在测量没有任何线路时的服务器……",
    "compare.measuring": "正在单独测量：{name}……",
    "compare.measured": "测量完成，全部线路已重新打开。",
    "compare.unmeasured": "有些数据在这里测不出来。全部线路已重新打开。",
    "compare.unreachable": "暂时无法连接服务器。",
    "compare.refused": "服务器不允许本页接收：{message}。",
    "compare.lanes": "五种方式",
    "compare.legend.live": "一条消息，柱越高延迟越大",
    "compare.legend.late": "切断之后才补到",
    "compare.legend.never": "始终没有收到",
    "compare.legend.away": "线路中断期间",
    "compare.name.poll": "轮询",
    "compare.name.long": "长轮询",
    "compare.name.sse": "SSE（服务器推送事件）",
    "compare.name.ws": "WebSocket",
    "compare.name.sio": "Socket.IO",
    "compare.how.poll": "每秒问一次",
    "compare.how.long": "先问，等有消息时才得到回答",
    "compare.how.sse": "一个不会结束的响应",
    "compare.how.ws": "一条双向的线路",
    "compare.how.sio": "在 WebSocket 上直接用它的协议，不用它的客户端库",
    "compare.state.connecting": "正在连接",
    "compare.state.open": "畅通",
    "compare.state.lost": "已切断",
    "compare.state.stopped": "已暂停",
    "compare.latency": "延迟（中位数）",
    "compare.bytes": "每条消息字节数",
    "compare.requests": "累计请求数",
    "compare.cpu": "每条消息 CPU",
    "compare.uncut": "尚未切断过。",
    "compare.away": "中断中……",
    "compare.back": "中断了 {seconds} 秒。",
    "compare.late": "迟到 {count} 条",
    "compare.twice": "重复 {count} 条",
    "compare.never": "丢失 {count} 条",
    "compare.counted": "这些数字怎么算",
    "compare.counted.latency":
      "延迟是从服务器写在消息里的发布时间，到本页收到为止。本页每两秒读一次服务器的时钟，取往返最快的一次来校准。",
    "compare.counted.bytes":
      "字节数是 HTTP/1.1 与 WebSocket 帧在两个方向上的总和；请求头的大小，以服务器实际收到的、来自这个浏览器的为准。不含 TCP、IP 和 TLS。",
    "compare.counted.requests": "WebSocket 和 SSE 各以一个请求开始。本页为校准时钟发出的请求不计在内。",
    "compare.counted.cpu":
      "测量 CPU 时，每种方式单独运行四秒，每秒五条消息：取服务器进程的处理器时间，减去没有人接收时的用量，再除以消息条数。此时若有别人在用服务器，结果会受影响。",
    "compare.counted.cut":
      "切断由本页来做：同时丢掉所有线路，三秒之内什么都不放行。之后各种方式按各自的习惯等待重连，并从自己最后收到的那一条继续。",
  },
};

const HTML_LANG = { en: "en", zh: "zh-CN" };
const listeners = new Set();
let current = "en";

/** The language of the page: "en" or "zh". */
export function language() {
  return current;
}

/** The language as Intl and the lang attribute want it. */
export function locale() {
  return HTML_LANG[current];
}

/** What a reader gets who never chose: Chinese for any Chinese browser, English for every other. */
export function languageFor(browserLanguage) {
  return /^zh\b/i.test(browserLanguage ?? "") ? "zh" : "en";
}

/** The text of `key`, with {placeholders} filled in from `params`. A count picks the plural form. */
export function t(key, params = {}) {
  const table = strings[current];
  const text = table[key] ?? table[pluralKey(key, params.count)];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(params[name] ?? whole));
}

/** Shows `key` in `element`, and again after a switch of language. */
export function setText(element, key, params) {
  element.dataset.i18n = key;
  if (params) element.dataset.i18nParams = JSON.stringify(params);
  else delete element.dataset.i18nParams;
  const text = t(key, params);
  if (element.textContent !== text) element.textContent = text;
}

/** Shows nothing in `element`, also after a switch of language. */
export function clearText(element) {
  delete element.dataset.i18n;
  delete element.dataset.i18nParams;
  element.textContent = "";
}

/** Fills every marked element below `root`. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-i18n]")) {
    element.textContent = t(element.dataset.i18n, JSON.parse(element.dataset.i18nParams ?? "{}"));
  }
  for (const element of root.querySelectorAll("[data-i18n-attr]")) {
    for (const pair of element.dataset.i18nAttr.split(",")) {
      const [attribute, key] = pair.split(":");
      element.setAttribute(attribute, t(key));
    }
  }
}

/** Calls `listener` after every switch of language. */
export function onLanguageChange(listener) {
  listeners.add(listener);
}

/** Chooses the language, fills the page, and wires up the switch. */
export function startLanguage(switchButtons) {
  const remembered = recall("language");
  show(LANGUAGES.includes(remembered) ? remembered : languageFor(navigator.language));
  for (const button of switchButtons) {
    button.addEventListener("click", () => {
      const next = current === "en" ? "zh" : "en";
      remember("language", next);
      show(next);
    });
  }
}

function show(lang) {
  current = lang;
  document.documentElement.lang = HTML_LANG[lang];
  translate(document);
  for (const button of document.querySelectorAll("[data-language-switch]")) {
    button.lang = HTML_LANG[lang === "en" ? "zh" : "en"];
  }
  for (const listener of listeners) listener();
}

function pluralKey(key, count) {
  const form = new Intl.PluralRules(HTML_LANG[current]).select(Number(count ?? 0));
  return `${key}.${form === "one" ? "one" : "other"}`;
}
