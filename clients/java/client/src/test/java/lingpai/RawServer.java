package lingpai;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Answers whatever comes, once its head is there, with the same bytes; or reads nothing at all. */
final class RawServer implements AutoCloseable {
  private final ServerSocket server = new ServerSocket();
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();

  private final int headBytes;

  /** As below; the head ends with an empty line. */
  RawServer(byte[] answer, boolean ends) throws IOException {
    this(answer, ends, 0);
  }

  /** headBytes: so many bytes are the head; 0: it ends with an empty line. answer: null reads nothing and answers nothing. ends: the connection is closed after it. */
  RawServer(byte[] answer, boolean ends, int headBytes) throws IOException {
    this.headBytes = headBytes;
    server.setReceiveBufferSize(1_024);
    server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    Thread thread = new Thread(() -> serve(answer, ends), "raw-server");
    thread.setDaemon(true);
    thread.start();
  }

  LingpaiClient.Builder client() {
    return LingpaiClient.builder("http://" + authority()).app("wx1");
  }

  String authority() {
    return "127.0.0.1:" + server.getLocalPort();
  }

  private void serve(byte[] answer, boolean ends) {
    try {
      while (true) {
        Socket socket = server.accept();
        sockets.add(socket);
        if (answer == null) continue;
        InputStream in = socket.getInputStream();
        for (int byteAt = 0; byteAt < headBytes; byteAt++) in.read();
        for (int seen = headBytes > 0 ? 4 : 0; seen < 4; ) seen = in.read() == "\r\n\r\n".charAt(seen) ? seen + 1 : 0;
        OutputStream out = socket.getOutputStream();
        out.write(answer);
        if (!ends) continue;
        socket.shutdownOutput(); // a close would reset what the client has not read yet
      }
    } catch (IOException closed) {
      // the test is over
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
    for (Socket socket : sockets) socket.close();
  }
}
