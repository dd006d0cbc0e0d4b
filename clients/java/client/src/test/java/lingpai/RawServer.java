package lingpai;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Answers whatever comes, once its head is there, with the same bytes; or reads nothing at all. */
final class RawServer implements AutoCloseable {
  private final ServerSocket server = new ServerSocket();
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();

  /** answer: null reads nothing and answers nothing. ends: the connection is closed after it. */
  RawServer(byte[] answer, boolean ends) throws IOException {
    server.setReceiveBufferSize(1_024);
    server.bind(new java.net.InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    Thread thread = new Thread(() -> serve(answer, ends), "raw-server");
    thread.setDaemon(true);
    thread.start();
  }

  LingpaiClient.Builder client() {
    return LingpaiClient.builder("http://127.0.0.1:" + server.getLocalPort()).app("wx1");
  }

  private void serve(byte[] answer, boolean ends) {
    try {
      while (true) {
        Socket socket = server.accept();
        sockets.add(socket);
        if (answer == null) continue;
        InputStream in = socket.getInputStream();
        for (int seen = 0; seen < 4; ) seen = in.read() == "\r\n\r\n".charAt(seen) ? seen + 1 : 0;
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
